// Package nodekey derives keys and certificates from the secret that the nodes of a
// cluster share, with which they authenticate each other.
package nodekey

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"
)

// host is the name in the certificates of nodes. They contain no addresses: a node with
// the secret may be at any.
const host = "node.mycelium"

// Derive returns key material of length bytes from the secret, different for each
// purpose.
func Derive(secret []byte, purpose string, length int) []byte {
	key, err := hkdf.Key(sha256.New, secret, nil, "mycelium cluster: "+purpose, length)
	if err != nil {
		panic(err) // the lengths are constants
	}
	return key
}

// TLS returns a configuration, for clients and servers, that accepts every peer with
// the secret. The key of a certificate authority is derived from the secret; it signs
// the certificate of this node, as it does those of the others. name is the node's
// name.
func TLS(secret []byte, name string) (*tls.Config, error) {
	authority := ed25519.NewKeyFromSeed(Derive(secret, "certificate authority", ed25519.SeedSize))
	root, err := certificate(&x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mycelium cluster"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}, nil, authority.Public(), authority)
	if err != nil {
		return nil, err
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("nodekey: making a key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("nodekey: making a certificate: %w", err)
	}
	own, err := certificate(&x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, DNSNames: []string{host},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, root, public, authority)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(root)
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: host, RootCAs: roots, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert,
		Certificates: []tls.Certificate{{Certificate: [][]byte{own.Raw}, PrivateKey: private}},
	}, nil
}

// certificate signs a template; without a parent, the certificate is self-signed. It is
// valid from an hour ago, because clocks differ, for longer than any process runs.
func certificate(template, parent *x509.Certificate, public any, signer ed25519.PrivateKey) (*x509.Certificate, error) {
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().AddDate(30, 0, 0)
	if parent == nil {
		parent = template
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		return nil, fmt.Errorf("nodekey: making a certificate: %w", err)
	}
	return x509.ParseCertificate(raw)
}
