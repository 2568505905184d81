package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mycelium-rt/mycelium/internal/keyfile"
	"github.com/mycelium-rt/mycelium/internal/logging/logtest"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// TestMain is the command itself where it is called by its name, as the
// documents do.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "mycelium" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// buffer is the log of a server.
type buffer = logtest.Buffer

// server is mycelium in this process, run as its command line would.
type server struct {
	addr    string
	environ []string // in which commands find its key
	log     *buffer
	stop    func() int // ends it as SIGTERM does and returns the exit code
}

func start(t *testing.T, args ...string) *server {
	t.Helper()
	return startWith(t, nil, args...)
}

func startWith(t *testing.T, environ []string, args ...string) *server {
	t.Helper()
	return startBare(t, append([]string{"XDG_RUNTIME_DIR=" + t.TempDir()}, environ...), args...)
}

// startBare starts a server that has no place for its key but where environ
// says so.
func startBare(t *testing.T, environ []string, args ...string) *server {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &server{log: new(buffer), environ: environ}
	done := make(chan int, 1)
	go func() { done <- run(ctx, append(args, "--listen=127.0.0.1:0"), s.environ, io.Discard, s.log) }()
	s.stop = sync.OnceValue(func() int { cancel(); return <-done })
	t.Cleanup(func() { s.stop() })
	for deadline := time.Now().Add(patience); s.addr == ""; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not listening:\n%s", s.log)
		}
		for line := range strings.Lines(s.log.String()) {
			var entry struct{ Addr, Message string }
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Message == "listening" {
				s.addr = entry.Addr
			}
		}
	}
	return s
}

// key is the one that the server has made for itself.
func (s *server) key(t *testing.T) string {
	t.Helper()
	key, err := keyfile.Find(s.environ, "http://"+s.addr)
	if err != nil {
		t.Fatal(err)
	}
	return key.Secret
}

// call asks the API, with the server's own key, and returns an answer's status
// and text.
func (s *server) call(t *testing.T, method, path, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.addr+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.key(t))
	r.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		r.Header.Set("If-Match", "*")
	}
	return do(t, r)
}

// do sends a request on a connection of its own.
func do(t *testing.T, r *http.Request) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func dial(t *testing.T, s *server, query string) *wstest.Client {
	t.Helper()
	c, err := wstest.Dial(s.addr, "/socket/websocket?vsn=2.0.0"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Drop() })
	return c
}

func expect(t *testing.T, c *wstest.Client, part string) {
	t.Helper()
	for {
		_, data, err := c.ReadMessage()
		if err != nil {
			t.Fatalf("waiting for %s: %v", part, err)
		}
		if strings.Contains(string(data), part) {
			return
		}
	}
}

// The server's main job, from its command line to a drained end.
func TestServe(t *testing.T) {
	s := start(t, "serve", "--log-level=debug", "--drain-interval=1ms")
	page, err := http.Get("http://" + s.addr + "/?token=page-secret")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(page.Body)
	page.Body.Close()
	if err != nil || page.StatusCode != http.StatusOK || !strings.Contains(string(body), "mycelium") {
		t.Fatalf("page: %d, %v", page.StatusCode, err)
	}
	http.DefaultClient.CloseIdleConnections()

	ada, bob := dial(t, s, "&token=socket-secret&user=ada"), dial(t, s, "&user=bob")
	for _, c := range []*wstest.Client{ada, bob} {
		if err := c.WriteText(`["1","1","room:lobby","phx_join",{}]`); err != nil {
			t.Fatal(err)
		}
		expect(t, c, `"status":"ok"`)
	}
	expect(t, ada, `"joins":{"bob"`)
	if err := ada.WriteText(`["1","2","room:lobby","new_msg",{"body":"hello"}]`); err != nil {
		t.Fatal(err)
	}
	expect(t, bob, `[null,null,"room:lobby","new_msg",{"body":"hello"}]`)
	broken := dial(t, s, "&token=broken-secret")
	if err := broken.WriteText(`{"token":"frame-secret"`); err != nil {
		t.Fatal(err)
	}
	closedWith(t, broken, 1011)

	go s.stop()
	closedWith(t, ada, 1012)
	closedWith(t, bob, 1012)
	if code := s.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if strings.Contains(s.log.String(), "secret") {
		t.Errorf("a secret in the log:\n%s", s.log)
	}
}

func closedWith(t *testing.T, c *wstest.Client, code uint16) {
	t.Helper()
	for {
		_, _, err := c.ReadMessage()
		var closed *wstest.CloseError
		if errors.As(err, &closed) && closed.Code == code {
			_ = c.Drop() // as real clients do when the server has ended its side
			return
		}
		if err != nil {
			t.Fatalf("closed by %v, want code %d", err, code)
		}
	}
}

func TestCommandLine(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(file, []byte("limits:\n  max_chanels: 5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		args    []string
		environ []string
		code    int
		stdout  string
		stderr  string
	}{
		{args: []string{"help"}, stdout: "  serve      run the server"},
		{args: []string{"version"}, stdout: "mycelium "},
		{args: []string{"config", "check"}, environ: []string{"MYCELIUM_AUTH_SECRET="}, code: 2, stderr: `auth.secret: "" (from environment variable MYCELIUM_AUTH_SECRET) is empty: leave it out, or give it a value`},
		{environ: []string{"MYCELIUM_AUTH_SECRET="}, code: 2, stderr: "auth.secret"},
		{args: []string{"config", "check", "--auth-join=room:*"}, code: 2, stderr: "auth.join is set (from flag --auth-join) and clients need no token"},
		{args: []string{"--auth-join=room:*"}, code: 2, stderr: "auth.join"},
		{args: []string{"serve", "--help"}, stdout: "--limits-max-channels"},
		{args: []string{"bench", "help"}, stdout: "mycelium bench presence"},
		{args: []string{"bench", "idle"}, code: 2, stderr: "missing URL of the socket"},
		{args: []string{"bench", "join", "ws://192.0.2.1/socket"}, code: 1, stderr: "not an address of this machine; add --remote"},
		{args: []string{"help", "serve"}, stdout: "--limits-max-channels"},
		{args: []string{"--listen=:0", "--help"}, stdout: "--limits-max-channels"},
		{args: []string{"help", "token"}, stdout: "mycelium token sign"},
		{args: []string{"help", "help"}, stdout: "mycelium [command] [flags]"},
		{args: []string{"help", "tokne"}, code: 2, stderr: "mycelium help: unknown command \"tokne\"; did you mean token?\n"},
		{args: []string{"help", "token", "sign"}, code: 2, stderr: `unexpected argument "sign"`},
		{args: []string{"--version"}, stdout: "mycelium "},
		{args: []string{"-v"}, stdout: "mycelium "},
		{args: []string{"version", "x"}, code: 2, stderr: "mycelium version: unexpected argument"},
		{args: []string{"quux"}, code: 2, stderr: "mycelium: unknown command \"quux\"; the commands are serve, config, "},
		{args: []string{"instances", "lsit"}, code: 2, stderr: "mycelium instances: unknown command \"lsit\"; did you mean list?\nRun \"mycelium instances --help\" for usage.\n"},
		{args: []string{"instances"}, code: 2, stderr: "mycelium instances: missing command; the commands are broadcast, broadcasts, create, "},
		{args: []string{"config", "chekc"}, code: 2, stderr: "mycelium config: unknown command \"chekc\"; did you mean check?\n"},
		{args: []string{"key", "nwe", "x"}, code: 2, stderr: "mycelium key: unknown command \"nwe\"; did you mean new?\n"},
		{args: []string{"token", "--sub=x"}, code: 2, stderr: "mycelium token: unknown command"},
		{args: []string{"server"}, code: 2, stderr: "mycelium: unknown command \"server\"; did you mean serve?\nRun \"mycelium --help\" for usage.\n"},
		{args: []string{"--lisen=:1"}, code: 2, stderr: "unknown flag --lisen; did you mean --listen?"},
		{args: []string{"--idle-timeout=60"}, code: 2, stderr: "idle_timeout"},
		{args: []string{"--config=" + file}, code: 2, stderr: "max_channels"},
		{environ: []string{"MYCELIUM_LISTEM=:1"}, code: 2, stderr: "MYCELIUM_LISTEN"},
		{args: []string{"--tls-cert=" + file, "--tls-key=" + file}, code: 2, stderr: "tls.cert (from flag --tls-cert) and tls.key"},
		{args: []string{"--listen=127.0.0.1:999999"}, code: 2, stderr: "listen"},
	}
	for _, test := range tests {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), test.args, test.environ, &stdout, &stderr)
		if code != test.code || !strings.Contains(stdout.String(), test.stdout) || !strings.Contains(stderr.String(), test.stderr) {
			t.Errorf("mycelium %v %v: exit %d\nstdout: %s\nstderr: %s\nwant %d, %q, %q", test.args, test.environ, code,
				&stdout, &stderr, test.code, test.stdout, test.stderr)
		}
	}
}

// A port that is taken ends the server with an error that names it.
func TestPortTaken(t *testing.T) {
	s := start(t)
	var stderr bytes.Buffer
	if code := run(t.Context(), []string{"--listen=" + s.addr}, nil, io.Discard, &stderr); code != 1 || !strings.Contains(stderr.String(), s.addr) {
		t.Errorf("exit %d: %s", code, &stderr)
	}
}

// TestHelp: short, and with every command; each command has a help of its own.
func TestHelp(t *testing.T) {
	ask := func(args ...string) string {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), args, nil, &stdout, &stderr); code != 0 || stderr.Len() > 0 {
			t.Errorf("mycelium %v: exit %d: %s", args, code, &stderr)
		}
		return stdout.String()
	}
	short := ask("--help")
	if n := strings.Count(short, "\n"); n > 24 {
		t.Errorf("%d lines do not fit on a terminal:\n%s", n, short)
	}
	for line := range strings.Lines(short) {
		if len(line) > 81 {
			t.Errorf("%d columns: %s", len(line)-1, line)
		}
	}
	if ask("-h") != short || ask("help") != short {
		t.Error("-h, help and --help differ")
	}
	for _, c := range commands() {
		if !strings.Contains(short, "\n  "+c.name+" ") {
			t.Errorf("%s is missing in\n%s", c.name, short)
		}
		if own := ask("help", c.name); !strings.Contains(own, "mycelium "+c.name) {
			t.Errorf("mycelium help %s: %s", c.name, own)
		}
		if c.name != "version" && c.name != "help" {
			if ask(c.name, "--help") != ask("help", c.name) {
				t.Errorf("mycelium %s --help is not mycelium help %s", c.name, c.name)
			}
		}
	}
}

// TestAddressInUse: the most likely error of a second try says what to do.
func TestAddressInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	for option, args := range map[string][]string{
		"listen":         {"--listen=" + address},
		"metrics.listen": {"--listen=127.0.0.1:0", "--metrics-listen=" + address},
	} {
		var stderr bytes.Buffer
		code := run(t.Context(), args, []string{"XDG_RUNTIME_DIR=" + t.TempDir()}, io.Discard, &stderr)
		if code != 1 || !strings.Contains(stderr.String(), "has this address: stop it or change the option "+option+`"`) {
			t.Errorf("%s: exit %d, %s", option, code, &stderr)
		}
	}
}
