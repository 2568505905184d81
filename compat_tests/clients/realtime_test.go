package clients

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/compat_tests/child"
)

// realtimeBehaviours are those of Supabase's clients, as the table in docs/compatibility.md has
// them.
var realtimeBehaviours = []string{
	"subscribe, unsubscribe",
	"connection refused",
	"broadcast",
	"broadcast of bytes",
	"ack, self",
	"two generations in one channel",
	"presence: key, track, update, untrack",
	"private channel",
	"private channel refused",
	"token renewed",
	"token expired",
	"HTTP",
	"replay",
	"replay refused",
	"postgres_changes refused",
	"reconnect",
	"limits",
}

// The secret and the key that the server and the programs share, and the server's configuration.
const (
	realtimeSecret = "a-secret-of-32-bytes-at-the-least"
	realtimeKey    = "sb_publishable_test"
	realtimeConfig = `
dialect: realtime
log: {format: text}
auth: {secret: ` + realtimeSecret + `, leeway: 0s, join: ["team*", "user-{sub}*"], publish: ["team*", "user-{sub}*"]}
realtime: {keys: [` + realtimeKey + `], payload: 100000}
instances:
  - {id: limited, type: realtime, config: {keys: [` + realtimeKey + `], limits: {client_presence_events: 2, channels: 1, payload_bytes: 1000}}}
  - {id: kept, type: realtime, config: {keys: [` + realtimeKey + `]}, history: [{topics: ["private:realtime:team*"]}]}
`
)

// realtimeChains are the clients of other languages than JavaScript.
var realtimeChains = []toolchain{{
	dir: "python", tools: []string{"python3"}, prepare: pythonPrepare,
	programs: []program{{"realtime 2.34.1", []string{".venv/bin/python", "project.py"}}},
}, {
	dir: "kotlin", tools: []string{"java", "mvn"},
	prepare:  [][]string{{"mvn", "-B", "-q", "-Dstyle.color=never", "compile"}},
	programs: []program{{"realtime-kt 3.7.0", []string{"mvn", "-B", "-q", "-Dstyle.color=never", "exec:java"}}},
}}

// TestRealtime runs Supabase's clients against instances of the type realtime, and holds the table in
// docs/compatibility.md.
func TestRealtime(t *testing.T) {
	wanted := os.Getenv(wantedEnv)
	if wanted == "" {
		t.Skip("needs Maven and Python with their registries: make test-clients")
	}
	t.Setenv(wantedEnv, wanted)                    // puts it back at the end
	if err := os.Unsetenv(wantedEnv); err != nil { // the server would take it for an option
		t.Fatal(err)
	}
	dir := t.TempDir()
	bin, err := child.Build(dir, "../../cmd/mycelium")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "mycelium.yaml")
	if err := os.WriteFile(file, []byte(realtimeConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := child.Start(t, bin, "serve", "--listen=127.0.0.1:0", "--config="+file).Addr
	t.Setenv("REALTIME_SECRET", realtimeSecret)
	t.Setenv("REALTIME_KEY", realtimeKey)
	for _, chain := range realtimeChains {
		if wanted != "1" && !slices.Contains(strings.Split(wanted, ","), chain.dir) {
			continue
		}
		t.Run(chain.dir, func(t *testing.T) {
			for _, command := range chain.prepare {
				if err := prepare(t.Context(), chain.dir, command); err != nil {
					t.Fatal(err)
				}
			}
			for _, p := range chain.programs {
				outcomes := runProgram(t, chain.dir, p.command, addr)
				for _, behaviour := range realtimeBehaviours {
					t.Run(behaviour, func(t *testing.T) {
						if said, want := documented(t, behaviour, p.client), marks[outcomes[behaviour].kind]; said != want {
							t.Errorf("docs/compatibility.md says %q, this is %q", said, want)
						}
						judge(t, outcomes, behaviour)
					})
				}
			}
		})
	}
}

// documented returns a cell of the table in docs/compatibility.md.
func documented(t *testing.T, behaviour, client string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/compatibility.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "<!-- supabase's clients -->\n")
	table, _, _ = strings.Cut(table, "\n<!-- supabase's clients: end -->")
	var rows [][]string
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i, cell := range cells {
			cells[i] = strings.TrimSpace(footnote.ReplaceAllString(cell, ""))
		}
		rows = append(rows, cells)
	}
	column := slices.Index(rows[0], client)
	for _, row := range rows {
		if row[0] == behaviour && column > 0 {
			return row[column]
		}
	}
	t.Fatalf("docs/compatibility.md has no cell for %q of %s", behaviour, client)
	return ""
}

var footnote = regexp.MustCompile(`<sup>.*</sup>`)
