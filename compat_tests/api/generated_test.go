package api

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/compat_tests/child"
	"github.com/mycelium-rt/mycelium/httpapi"
)

const (
	// generatorTimeout bounds one run of a generator, a compiler or a client.
	generatorTimeout = testTimeout
)

// generated serves the API and writes its document into the folder "generated" of a client,
// which it empties first. It returns the arguments of the client: the server's URL and a key.
func generated(t *testing.T, client string) (document string, args []string) {
	t.Helper()
	if os.Getenv("MYCELIUM_CLIENTS") == "" {
		t.Skip("needs Python, Node and their registries: make test-clients")
	}
	secret, key := httpapi.NewKey("client", []httpapi.Scope{httpapi.Admin}, nil)
	url := "http://" + serve(t, key)
	r, err := http.Get(url + "/api/openapi.json") //nolint:noctx // a test's own server
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(client, "generated")
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	document = filepath.Join(folder, "openapi.json")
	if err := os.WriteFile(document, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return document, []string{url, secret}
}

// TestPythonClient generates a client from the document and uses it. The generator must
// not leave anything out.
func TestPythonClient(t *testing.T) {
	document, args := generated(t, "python")
	python, err := filepath.Abs(filepath.Join("python", ".venv", "bin", "python"))
	if err != nil {
		t.Fatal(err)
	}
	child.Run(t, prepareTimeout, "python3", "-m", "venv", filepath.Join("python", ".venv"))
	child.Run(t, prepareTimeout, python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", filepath.Join("python", "requirements.txt"))
	config := filepath.Join("python", "generator.yaml")
	out := child.Run(t, generatorTimeout, filepath.Join("python", ".venv", "bin", "openapi-python-client"), "generate", "--path", document,
		"--config", config, "--output-path", filepath.Join("python", "generated"), "--overwrite", "--meta", "none", "--fail-on-warning")
	t.Logf("%s", out)
	if got := child.Run(t, generatorTimeout, python, append([]string{filepath.Join("python", "client.py")}, args...)...); strings.TrimSpace(string(got)) != "done" {
		t.Errorf("%s", got)
	}
}

// TestTypeScriptClient generates types from the document, checks a program against them,
// and runs it.
func TestTypeScriptClient(t *testing.T) {
	document, args := generated(t, "ts")
	bin := filepath.Join("ts", "node_modules", ".bin")
	child.Run(t, prepareTimeout, "npm", "ci", "--prefix", "ts", "--no-audit", "--no-fund")
	child.Run(t, generatorTimeout, filepath.Join(bin, "openapi-typescript"), document, "--output", filepath.Join("ts", "generated", "api.d.ts"))
	child.Run(t, generatorTimeout, filepath.Join(bin, "tsc"), "--project", "ts")
	if got := child.Run(t, generatorTimeout, "node", append([]string{filepath.Join("ts", "generated", "js", "client.js")}, args...)...); strings.TrimSpace(string(got)) != "done" {
		t.Errorf("%s", got)
	}
}
