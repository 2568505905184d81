// Package api tests the HTTP API with schemathesis, a property-based tester, which sends
// requests that the OpenAPI document allows and forbids.
package api

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mycelium-rt/mycelium/auth"
	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/compat_tests/child"
	"github.com/mycelium-rt/mycelium/httpapi"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/instances/relay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	// prepareTimeout bounds the download of the tester.
	prepareTimeout = 5 * time.Minute
	// testSeconds is how long schemathesis runs.
	testSeconds = "30"
	testTimeout = 3 * time.Minute
)

// TestSchemathesis checks that no request makes the server fail or give an answer that is
// not in the document, that requests that the document forbids are refused, and that
// nothing is answered without the key.
func TestSchemathesis(t *testing.T) {
	if os.Getenv("MYCELIUM_CLIENTS") == "" {
		t.Skip("needs Python and its registry: make test-clients")
	}
	python := filepath.Join(".venv", "bin", "python")
	child.Run(t, prepareTimeout, "python3", "-m", "venv", ".venv")
	child.Run(t, prepareTimeout, python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", "requirements.txt")
	secret, key := httpapi.NewKey("tester", []httpapi.Scope{httpapi.Admin}, nil)
	addr := serve(t, key)
	out := child.Run(t, testTimeout, filepath.Join(".venv", "bin", "schemathesis"), "run", "http://"+addr+"/api/openapi.json",
		"--header", "Authorization: Bearer "+secret, "--seed", "1", "--max-time", testSeconds, "--no-color", "--checks", "all",
		// These checks do not apply: no document can say whether the name, configuration
		// and signals of a type are valid (positive_data_acceptance); the answer to a
		// missing If-Match is 428 (RFC 6585), which is not expected
		// (missing_required_header); and there is only one user
		// (object_level_authorization).
		"--exclude-checks", "positive_data_acceptance,missing_required_header,object_level_authorization")
	t.Logf("%s", out)
}

// serve runs the API and returns its address.
func serve(t *testing.T, key httpapi.Key) string {
	t.Helper()
	var api *httpapi.API
	endpoint, err := channels.NewEndpoint(channels.Options{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { api.ServeHTTP(w, r) }),
	})
	if err != nil {
		t.Fatal(err)
	}
	manager := instances.New(endpoint, instances.Options{})
	t.Cleanup(func() {
		if err := manager.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if err := endpoint.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	manager.Register(relay.Type())
	if err := manager.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	revocations, err := auth.OpenRevocations(auth.RevocationOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { revocations.Close() }) // it has no file
	if api, err = httpapi.New(manager, httpapi.Options{Keys: []httpapi.Key{key}, Revocations: revocations}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"0", "a", "default"} { // ids that schemathesis uses
		if _, _, err := manager.Create(t.Context(), instances.Spec{ID: id, Type: "relay"}); err != nil {
			t.Fatal(err)
		}
	}
	addr, err := endpoint.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return addr.String()
}
