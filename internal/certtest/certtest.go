// Package certtest issues certificates for tests.
package certtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority signs certificates.
type Authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	last int64 // serial number
}

// New returns a new authority. It belongs to the test's goroutine.
func New(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{t: t, key: newKey(t), last: 1}
	a.cert = a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of a test"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil, a.key)
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign signs a template, which is its own parent if parent is nil.
func (a *Authority) sign(template, parent *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	a.t.Helper()
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert
}

// Issue issues a certificate. It is valid for an hour, unless the template says something
// else, and gets the next serial number, beginning with 2.
func (a *Authority) Issue(template *x509.Certificate) tls.Certificate {
	a.t.Helper()
	a.last++
	template.SerialNumber = big.NewInt(a.last)
	key := newKey(a.t)
	cert := a.sign(template, a.cert, key)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

// Server issues a certificate for localhost and 127.0.0.1.
func (a *Authority) Server() tls.Certificate {
	a.t.Helper()
	return a.Issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
}

// Client issues a certificate for a client of this name.
func (a *Authority) Client(name string) tls.Certificate {
	a.t.Helper()
	return a.Issue(&x509.Certificate{Subject: pkix.Name{CommonName: name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
}

// Expired issues a certificate for localhost that has expired.
func (a *Authority) Expired() tls.Certificate {
	a.t.Helper()
	end := time.Now().Add(-time.Minute)
	return a.Issue(&x509.Certificate{DNSNames: []string{"localhost"}, NotBefore: end.Add(-time.Hour), NotAfter: end})
}

// Pool returns a pool with the authority's certificate.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// Trusting returns the configuration of a client that trusts the authority, and has these
// certificates.
func (a *Authority) Trusting(own ...tls.Certificate) *tls.Config {
	return &tls.Config{RootCAs: a.Pool(), ServerName: "localhost", Certificates: own}
}

// File writes the authority's certificate, and returns the path.
func (a *Authority) File() string {
	a.t.Helper()
	return write(a.t, filepath.Join(a.t.TempDir(), "ca.pem"), "CERTIFICATE", a.cert.Raw)
}

// Files writes a certificate and its key, and returns their paths.
func Files(t testing.TB, c *tls.Certificate) (cert, key string) {
	t.Helper()
	dir := t.TempDir()
	pkcs8, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, filepath.Join(dir, "cert.pem"), "CERTIFICATE", c.Certificate[0]), write(t, filepath.Join(dir, "key.pem"), "PRIVATE KEY", pkcs8)
}

func write(t testing.TB, path, kind string, der []byte) string {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
