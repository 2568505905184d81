package clients

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
)

// graphqlEnv is the variable with the server's address for the program.
const graphqlEnv = "GRAPHQL_ADDR"

// TestGraphQL runs PyPI's gql against examples/graphql.
func TestGraphQL(t *testing.T) {
	wanted := os.Getenv(wantedEnv)
	if wanted == "" {
		t.Skip("needs Python with its registry: make test-clients")
	}
	if wanted != "1" && !slices.Contains(strings.Split(wanted, ","), "graphql") {
		t.Skip("not selected")
	}
	addr := startServer(t, "../../examples/graphql")
	for _, command := range pythonPrepare {
		if err := prepare(t.Context(), "graphql", command); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), programTimeout)
	defer cancel()
	cmd := newCommand(ctx, "graphql", []string{".venv/bin/python", "test_gql.py"})
	cmd.Env = append(os.Environ(), graphqlEnv+"="+addr)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}
