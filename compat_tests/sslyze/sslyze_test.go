// Package sslyze has the TLS of "mycelium serve" scanned by sslyze, in the versions of
// requirements.txt.
package sslyze

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mycelium-rt/mycelium/compat_tests/child"
	"github.com/mycelium-rt/mycelium/internal/certtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// commandTimeout bounds the download of the scanner, and its work: ten seconds of waiting
// for answers in SSL 2.
const commandTimeout = 5 * time.Minute

// TestSSLyze: the server complies with Mozilla's configuration "intermediate" in protocols,
// ciphers, curves and certificate, and has none of the weaknesses that the scanner knows:
// Heartbleed, ROBOT, CRIME, injection of CCS, renegotiation by clients.
func TestSSLyze(t *testing.T) {
	if os.Getenv("MYCELIUM_CLIENTS") == "" {
		t.Skip("needs Python and its registry: make test-clients")
	}
	os.Unsetenv("MYCELIUM_CLIENTS") // the server takes it for an option with a mistake
	python := filepath.Join(".venv", "bin", "python")
	child.Run(t, commandTimeout, "python3", "-m", "venv", ".venv")
	child.Run(t, commandTimeout, python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", "requirements.txt")
	program, err := child.Build(t.TempDir(), "../../cmd/mycelium")
	if err != nil {
		t.Fatal(err)
	}
	authority := certtest.New(t)
	pair := authority.Server()
	cert, key := certtest.Files(t, &pair)
	server := child.Start(t, program, "serve", "--listen=127.0.0.1:0", "--log-format=text", "--tls-cert="+cert, "--tls-key="+key)
	out := child.Run(t, commandTimeout, python, "-m", "sslyze", "--mozilla_config=intermediate", "--certinfo_ca_file="+authority.File(), server.Addr)
	if !bytes.Contains(out, []byte("OK - Compliant")) {
		t.Errorf("%s", out)
	}
}
