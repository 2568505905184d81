// Package clients runs published clients of Phoenix Channels in other languages
// than JavaScript, unchanged and from their registries, against labapp. See the
// README beside it.
package clients

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wantedEnv enables these tests: "1" for all clients, or names of folders separated by
// commas.
const wantedEnv = "MYCELIUM_CLIENTS"

// prepareTimeout bounds the downloads and builds of a toolchain. With an empty cache, a slow
// mirror and a busy machine they take four minutes.
const prepareTimeout = 10 * time.Minute

// toolchain builds and runs the programs of a folder.
type toolchain struct {
	dir      string
	tools    []string
	prepare  [][]string // commands
	programs []program
}

// program runs a client through the behaviours.
type program struct {
	client  string // package and version, as in the table
	command []string
}

// pythonPrepare installs the packages of requirements.txt into a folder beside it.
var pythonPrepare = [][]string{
	{"python3", "-c", "import sys; sys.exit('needs Python 3.11' if sys.version_info < (3, 11) else 0)"},
	{"python3", "-m", "venv", ".venv"},
	{".venv/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", "requirements.txt"},
}

var toolchains = []toolchain{{
	dir:     "java",
	tools:   []string{"java", "javac", "mvn"},
	prepare: [][]string{{"mvn", "-B", "-q", "-Dstyle.color=never", "compiler:compile"}},
	programs: []program{
		{"JavaPhoenixClient 1.3.1", []string{"mvn", "-B", "-q", "-Dstyle.color=never", "exec:java"}},
	},
}, {
	dir:     "python",
	tools:   []string{"python3"},
	prepare: pythonPrepare,
	programs: []program{
		{"realtime 2.34.1", []string{".venv/bin/python", "supabase.py"}},
		{"phoenix-channels-python-client 0.4.1, V1", []string{".venv/bin/python", "phoenix.py", "1.0"}},
		{"phoenix-channels-python-client 0.4.1, V2", []string{".venv/bin/python", "phoenix.py", "2.0"}},
	},
}, {
	dir:     "rust",
	tools:   []string{"cargo"},
	prepare: [][]string{{"cargo", "build", "--quiet", "--locked"}},
	programs: []program{
		{"phoenix_channels_client 0.1.2", []string{"target/debug/clients"}},
	},
}}

// TestClients has a subtest for each behaviour of each client.
func TestClients(t *testing.T) {
	wanted := os.Getenv(wantedEnv)
	if wanted == "" {
		t.Skip("needs Maven, Python and cargo with their registries: make test-clients")
	}
	addr := startServer(t, "../labapp")
	results := &table{}
	t.Run("run", func(t *testing.T) {
		for _, chain := range toolchains {
			if wanted != "1" && !slices.Contains(strings.Split(wanted, ","), chain.dir) {
				continue
			}
			t.Run(chain.dir, func(t *testing.T) {
				t.Parallel() // one can download while another compiles
				chain.run(t, addr, results)
			})
		}
	})
	if wanted == "1" && !t.Failed() {
		t.Run("README", results.compare)
	}
}

// run prepares and runs the programs.
func (chain toolchain) run(t *testing.T, addr string, results *table) {
	for _, tool := range chain.tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is not installed: %v", tool, err)
		}
	}
	began := time.Now()
	for _, command := range chain.prepare {
		if err := prepare(t.Context(), chain.dir, command); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("prepared in %v", time.Since(began).Round(time.Second))
	for _, p := range chain.programs {
		t.Run(strings.ReplaceAll(p.client, " ", "_"), func(t *testing.T) {
			outcomes := runProgram(t, chain.dir, p.command, addr)
			results.add(p.client, outcomes)
			for _, behaviour := range behaviours {
				t.Run(behaviour, func(t *testing.T) { judge(t, outcomes, behaviour) })
			}
		})
	}
}

// prepare runs a command at a low priority, because other tests wait for answers of
// servers.
func prepare(ctx context.Context, dir string, command []string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, prepareTimeout, fmt.Errorf("not done in %v", prepareTimeout))
	defer cancel()
	cmd := newCommand(ctx, dir, command)
	if nice, err := exec.LookPath("nice"); err == nil {
		cmd.Path, cmd.Args = nice, append([]string{"nice"}, slices.Concat([]string{cmd.Path}, cmd.Args[1:])...)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), errors.Join(err, context.Cause(ctx)), out)
	}
	return nil
}

func judge(t *testing.T, outcomes map[string]outcome, behaviour string) {
	o, said := outcomes[behaviour]
	switch {
	case !said:
		t.Error("the program exited without reporting it")
	case o.kind == failed:
		t.Error(o.note)
	case o.kind == notOffered:
		t.Skip("not offered by this client: " + o.note)
	case o.note != "":
		t.Log(o.note)
	}
}
