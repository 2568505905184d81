package main

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"

	"github.com/mycelium-rt/mycelium/compat_tests/selfsigned"
)

// The certificate of mycelium serve, which accepts connections with and without TLS on
// the same port.
const (
	certFile = "cert.pem"
	keyFile  = "key.pem"
)

// writeCertificate makes a certificate for a run.
func writeCertificate(dir string) error {
	cert, err := selfsigned.New()
	if err != nil {
		return err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, certFile), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, keyFile), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600)
}
