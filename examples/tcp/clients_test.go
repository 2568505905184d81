// Package tcp tests the clients of docs/tcp.md, in Go, Python and C.
package tcp

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/instances/relay"
	"github.com/mycelium-rt/mycelium/internal/leaktest"
)

const patience = 90 * time.Second

func TestMain(m *testing.M) { leaktest.Main(m) }

// server is what "mycelium serve" runs.
type server struct {
	*channels.Endpoint
	relay *relay.Relay
}

// openPort returns a port for one server after the other.
func openPort(t *testing.T) *os.File {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { port.Close() })
	return port
}

// serve serves raw TCP on a port.
func serve(t *testing.T, port *os.File) (s *server, addr string) {
	t.Helper()
	e, err := channels.NewEndpoint(channels.Options{Loops: 1, Drain: channels.Drain{Batch: 100, Interval: time.Millisecond, Timeout: patience}})
	if err != nil {
		t.Fatal(err)
	}
	r := relay.New(e, relay.Options{Topics: []string{"*"}, PresenceOff: []string{"*"}})
	e.Socket("/socket", channels.SocketOptions{Connect: func(ctx context.Context, s *channels.Socket, q *channels.Request) error {
		switch q.Params.Get("token") {
		case "secret":
			return r.Connect(ctx, s, q)
		case "later":
			return &channels.RefusedError{Status: 503, RetryAfter: time.Minute, Body: "come back later"}
		}
		return &channels.RefusedError{Status: 403, Body: "the token is not valid"}
	}}, r.Channels()...)
	l, err := net.FileListener(port)
	if err != nil {
		t.Fatal(err)
	}
	at, err := e.ServeTCP(l)
	if err != nil {
		t.Fatal(err)
	}
	return &server{e, r}, at.String()
}

func (s *server) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	s.relay.Close()
}

// client is a running client.
type client struct {
	t     *testing.T
	in    io.WriteCloser
	lines chan string
}

// run starts a client that joins room:1 with a token.
func run(t *testing.T, addr, token string, separatePort bool, command ...string) *client {
	t.Helper()
	if host, port, err := net.SplitHostPort(addr); err == nil && separatePort {
		command = append(slices.Clone(command), host, port)
	} else {
		command = append(slices.Clone(command), addr)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, command[0], append(command[1:], "room:1", token)...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, in: in, lines: make(chan string, 1000)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for s := bufio.NewScanner(out); s.Scan(); {
			c.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-read
		cmd.Wait() // it was killed
	})
	return c
}

// wants waits for a line that contains part, and returns it.
func (c *client) wants(part string) string {
	c.t.Helper()
	var before []string
	for end := time.After(patience); ; {
		select {
		case line := <-c.lines:
			if strings.Contains(line, part) {
				return line
			}
			before = append(before, line)
		case <-end:
			c.t.Fatalf("no line with %q; there were\n%s", part, strings.Join(before, "\n"))
		}
	}
}

// clients returns the command of each client that this machine can run.
func clients(t *testing.T) map[string][]string {
	t.Helper()
	dir := t.TempDir()
	build := func(name string, command ...string) []string {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out)
		}
		return []string{filepath.Join(dir, name)}
	}
	found := map[string][]string{"Go": build("go", "go", "build", "-o", filepath.Join(dir, "go"), "./go")}
	if cc, err := exec.LookPath("cc"); err == nil {
		found["C"] = build("c", cc, "-std=c99", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-o", filepath.Join(dir, "c"), "c/client.c")
	} else if os.Getenv("CI") == "true" {
		t.Error("no C compiler")
	}
	if python, err := exec.LookPath("python3"); err == nil {
		found["Python"] = []string{python, "python/client.py"}
	} else if os.Getenv("CI") == "true" {
		t.Error("no python3")
	}
	return found
}

// aMinute is how each client says that it waits for a minute, and a little more.
var aMinute = map[string]*regexp.Regexp{
	"Go":     regexp.MustCompile(`in 1m[0-2]\.`),
	"Python": regexp.MustCompile(`in 6[0-2]\.\d s`),
	"C":      regexp.MustCompile(`in 6[0-2]\d{3} ms`),
}

// Each client joins, pushes and receives, survives a restart of the server, and understands
// why it is not let in.
func TestClients(t *testing.T) {
	for name, command := range clients(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port := openPort(t)
			s, addr := serve(t, port)
			separate := name != "Go"
			refused := run(t, addr, "wrong", separate, command...)
			refused.wants("refused 403 the token is not valid")
			later := run(t, addr, "later", separate, command...)
			later.wants("refused 503 come back later")
			if wait := later.wants("reconnecting in "); !aMinute[name].MatchString(wait) {
				t.Errorf("told to come back in a minute: %s", wait)
			}
			c := run(t, addr, "secret", separate, command...)
			if _, err := io.WriteString(c.in, `{"from": "`+name+`"}`+"\n"); err != nil { // waits for the connection
				t.Fatal(err)
			}
			c.wants(`["1","1","room:1","phx_reply",{"response":{},"status":"ok"}]`)
			c.wants(`{"from":"` + name + `"}`)
			if name == "Python" { // the others send lines as they are
				if _, err := io.WriteString(c.in, "no JSON\n{\"still\":\"here\"}\n"); err != nil {
					t.Fatal(err)
				}
				c.wants(`"msg",{"still":"here"}]`)
			}
			long := strings.Repeat("ä", 3000)
			if err := s.Broadcast("room:1", "news", map[string]string{"text": long}); err != nil {
				t.Fatal(err)
			}
			c.wants(fmt.Sprintf(`[null,null,"room:1","news",{"text":"%s"}]`, long))
			s.stop(t)
			c.wants("closed 1012")
			c.wants("reconnecting in ")
			s, _ = serve(t, port)
			c.wants(`["1","1","room:1","phx_reply",{"response":{},"status":"ok"}]`)
			s.stop(t)
		})
	}
}

// A client that is called wrongly says how to call it, and ends.
func TestUsage(t *testing.T) {
	for name, command := range clients(t) {
		for _, args := range [][]string{nil, {"127.0.0.1"}, {"127.0.0.1", "1", "room:1", "token", "more"}} {
			cmd := exec.CommandContext(t.Context(), command[0], append(slices.Clone(command[1:]), args...)...)
			out, err := cmd.CombinedOutput()
			if text := string(out); err == nil || !strings.HasPrefix(text, "usage: ") || strings.Count(text, "\n") != 1 {
				t.Errorf("%s %q: %v\n%s", name, args, err, text)
			}
		}
	}
}

// Whoever reads a client reads all of it: each is short.
func TestClientsAreShort(t *testing.T) {
	for _, file := range []string{"go/main.go", "python/client.py", "c/client.c"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := 0
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSpace(line)
			if line != "" && !strings.HasPrefix(line, "//") && !strings.HasPrefix(line, "#include") {
				lines++
			}
		}
		if lines > 90 {
			t.Errorf("%s has %d lines of code", file, lines)
		}
	}
}
