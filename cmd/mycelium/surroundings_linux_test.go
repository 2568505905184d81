package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mycelium-rt/mycelium/httpapi"
	"github.com/mycelium-rt/mycelium/internal/addrtest"
	"github.com/mycelium-rt/mycelium/internal/waittest"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// spawned is a server as a process, whose standard error is what the test wants.
// Its address is known without reading that.
type spawned struct {
	cmd     *exec.Cmd
	addr    string
	ended   chan error
	clients []*wstest.Client
}

// drainTimeout is that of spawned servers, in which a loaded machine can close all clients.
const drainTimeout = 30 * time.Second

const metricsToken = "0123456789abcdef"

// spawn starts "mycelium serve" and waits until it answers.
func spawn(t *testing.T, stderr *os.File, args ...string) *spawned {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "mycelium")
	if err := os.Symlink(self, name); err != nil {
		t.Fatal(err)
	}
	s := &spawned{addr: addrtest.Free(t), ended: make(chan error, 1)}
	args = append([]string{
		"serve", "--listen=" + s.addr, "--log-format=json", "--drain-interval=1ms", "--drain-timeout=" + drainTimeout.String(),
		"--metrics-token=" + metricsToken,
	}, args...)
	s.cmd = exec.Command(name, args...)
	s.cmd.Env, s.cmd.Stderr = []string{}, stderr
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.ended <- s.cmd.Wait() }()
	t.Cleanup(func() {
		if t.Failed() {
			select {
			case err := <-s.ended:
				t.Logf("the server had ended: %v", err)
			default:
			}
		}
		_ = s.cmd.Process.Kill()
	})
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if conn, err := net.Dial("tcp", s.addr); err == nil {
			conn.Close()
			return s
		}
		select {
		case err := <-s.ended:
			t.Fatalf("the server has ended: %v", err)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("the server does not listen")
		}
	}
}

// stop sends SIGTERM and waits for a clean end: the clients answer their Close
// frames.
func (s *spawned) stop(t *testing.T) {
	t.Helper()
	var answered sync.WaitGroup
	defer answered.Wait()
	for _, c := range s.clients {
		answered.Go(func() {
			for err := error(nil); err == nil; {
				_, _, err = c.ReadMessage()
			}
			_ = c.Drop()
		})
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	select {
	case err := <-s.ended:
		if err != nil {
			t.Errorf("ended with %v", err)
		}
		t.Logf("ended after %v", time.Since(start).Round(time.Millisecond))
	case <-time.After(endWithin):
		t.Errorf("not ended %v after SIGTERM; drain.timeout is %v", endWithin, drainTimeout)
	}
}

func (s *spawned) dial(t *testing.T) *wstest.Client {
	t.Helper()
	c, err := wstest.Dial(s.addr, "/socket/websocket?vsn=2.0.0", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Drop() })
	s.clients = append(s.clients, c)
	return c
}

// chat joins two clients and has one say something to the other.
func (s *spawned) chat(t *testing.T) (ada, bob *wstest.Client) {
	t.Helper()
	ada, bob = s.dial(t), s.dial(t)
	for _, c := range []*wstest.Client{ada, bob} {
		join(t, c)
	}
	say(t, ada, bob)
	return ada, bob
}

func join(t *testing.T, c *wstest.Client) {
	t.Helper()
	if err := c.WriteText(`["1","1","room:1","phx_join",{}]`); err != nil {
		t.Fatal(err)
	}
	expect(t, c, `"status":"ok"`)
}

func say(t *testing.T, from, to *wstest.Client) {
	t.Helper()
	if err := from.WriteText(`["1","2","room:1","say",{"text":"hello"}]`); err != nil {
		t.Fatal(err)
	}
	expect(t, to, `"hello"`)
}

// provoke makes handshakes that are logged: from a page that may not connect, with
// 3 kB of Origin.
func (s *spawned) provoke(t *testing.T, n int) {
	t.Helper()
	header := http.Header{"Origin": {"http://" + strings.Repeat("x", 3000)}}
	for range n {
		var refused *wstest.StatusError
		if _, err := wstest.Dial(s.addr, "/socket/websocket?vsn=2.0.0", header); !errors.As(err, &refused) || refused.Status != http.StatusForbidden {
			t.Fatalf("a bad origin: %v, want 403", err)
		}
	}
}

// metric returns a value of /metrics.
func (s *spawned) metric(t *testing.T, name string) (value float64) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	request, err := http.NewRequest(http.MethodGet, "http://"+s.addr+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+metricsToken)
	r, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindSubmatch(text)
	if found == nil {
		t.Fatalf("no metric %s: %d %.200s", name, r.StatusCode, text)
	}
	if _, err := fmt.Sscan(string(found[1]), &value); err != nil {
		t.Fatal(err)
	}
	return value
}

// fullPipe returns the ends of a pipe that takes no byte more.
func fullPipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{unix.SetNonblock(fds[1], true), fillPipe(fds[1]), unix.SetNonblock(fds[1], false)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	r, w = os.NewFile(uintptr(fds[0]), "reader"), os.NewFile(uintptr(fds[1]), "writer")
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

func fillPipe(fd int) error {
	for {
		if _, err := unix.Write(fd, []byte("\n")); err != nil {
			if err == unix.EAGAIN {
				return nil
			}
			return err
		}
	}
}

// TestLogPipeIsNotRead: standard error is a pipe that is full from the start. The
// server serves and ends; what it had to say comes when somebody reads.
func TestLogPipeIsNotRead(t *testing.T) {
	t.Run("for ever", func(t *testing.T) {
		_, w := fullPipe(t)
		s := spawn(t, w)
		ada, bob := s.chat(t)
		s.provoke(t, 100)
		say(t, bob, ada)
		s.chat(t)
		s.stop(t)
	})
	t.Run("for a while", func(t *testing.T) {
		r, w := fullPipe(t)
		s := spawn(t, w)
		began := time.Now()
		s.provoke(t, 100)
		seconds := int(time.Since(began)/time.Second) + 2 // begun ones, in each of which ten lines are written
		w.Close()
		seen := make(chan string, 1)
		lines := bufio.NewScanner(r)
		go func() {
			var text strings.Builder
			for lines.Scan() {
				text.WriteString(lines.Text() + "\n")
			}
			seen <- text.String()
		}()
		s.stop(t)
		text := strings.TrimLeft(<-seen, "\n")
		for _, want := range []string{
			`"message":"listening"`, `"message":"origin refused"`, `"path":"/socket/websocket"`, `"kind":"origin refused"`, `"message":"stopped"`,
		} {
			if !strings.Contains(text, want) {
				t.Errorf("no %s in:\n%s", want, text)
			}
		}
		if len(text) > seconds*15_000 {
			t.Errorf("%d bytes of log for 100 handshakes in %d seconds", len(text), seconds)
		}
	})
}

// TestLogPipeIsClosed: the other end of standard error is closed.
func TestLogPipeIsClosed(t *testing.T) {
	r, w := fullPipe(t)
	r.Close()
	s := spawn(t, w)
	ada, bob := s.chat(t)
	s.provoke(t, 100)
	say(t, bob, ada)
	s.stop(t)
}

// TestLogDiskIsFull: /dev/full answers each write with ENOSPC.
func TestLogDiskIsFull(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	s := spawn(t, full)
	ada, bob := s.chat(t)
	s.provoke(t, 100)
	say(t, bob, ada)
	waittest.For(t, "a line to be counted as dropped", func() bool { return s.metric(t, "mycelium_log_lines_dropped_total") >= 1 })
	s.stop(t)
}

// fullDisk mounts a file system of 1 MiB and returns what fills it.
func fullDisk(t *testing.T) (dir string, fill func()) {
	t.Helper()
	dir = t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("a file system cannot be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir, func() {
		f, err := os.Create(filepath.Join(dir, "fill"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
	}
}

// create creates an instance and returns the status.
func (s *spawned) create(t *testing.T, secret, id string) (status int) {
	t.Helper()
	request, err := http.NewRequest(http.MethodPost, "http://"+s.addr+"/api/instances", strings.NewReader(`{"type":"chat","id":"`+id+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+secret)
	request.Header.Set("Content-Type", "application/json")
	request.Close = true
	r, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	return r.StatusCode
}

// TestDataDiskIsFull: the log and the instances are on a disk that becomes full,
// and stays so or not.
func TestDataDiskIsFull(t *testing.T) {
	t.Run("to the end", func(t *testing.T) { onFullDisk(t, false) })
	t.Run("for a while", func(t *testing.T) { onFullDisk(t, true) })
}

func onFullDisk(t *testing.T, roomAtTheEnd bool) {
	dir, fill := fullDisk(t)
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	t.Cleanup(func() {
		if text, err := os.ReadFile(log.Name()); t.Failed() && err == nil {
			t.Logf("its log: %.5000s", text)
		}
	})
	secret, key := httpapi.NewKey("ops", []httpapi.Scope{httpapi.Admin}, nil)
	text, err := json.Marshal(map[string]any{"api": map[string]any{"keys": []any{key}}})
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "mycelium.yaml")
	if err := os.WriteFile(config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	s := spawn(t, log, "--data="+filepath.Join(dir, "data"), "--log-level=debug", "--config="+config)
	ada, bob := s.chat(t)
	fill()
	status := http.StatusCreated // the store has some free pages in its file
	for i := 0; status == http.StatusCreated && i < 1000; i++ {
		status = s.create(t, secret, fmt.Sprint("i", i))
	}
	if status != http.StatusInternalServerError {
		t.Errorf("an instance that cannot be kept: %d", status)
	}
	for i := range 200 {
		say(t, ada, bob)
		say(t, bob, ada)
		if i == 100 {
			s.provoke(t, 100)
		}
	}
	s.chat(t)
	waittest.For(t, "a line to be counted as dropped", func() bool { return s.metric(t, "mycelium_log_lines_dropped_total") >= 1 })
	if !roomAtTheEnd {
		s.stop(t)
		return
	}
	if err := os.Remove(filepath.Join(dir, "fill")); err != nil {
		t.Fatal(err)
	}
	if status := s.create(t, secret, "later"); status != http.StatusCreated {
		t.Errorf("an instance, with room for it: %d", status)
	}
	s.stop(t)
	if text, err = os.ReadFile(log.Name()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"error":"write /dev/stderr: no space left on device"`, `"message":"lines of the log were dropped"`, `"message":"stopped"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in the log:\n%.2000s", want, text)
		}
	}
}

// limitFiles leaves the server n descriptors more than it has.
func (s *spawned) limitFiles(t *testing.T, n int) {
	t.Helper()
	pid := s.cmd.Process.Pid
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	limit := uint64(len(open) + n)
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: limit}, nil); err != nil {
		t.Fatal(err)
	}
}

// cpu is the processor time that the server has used.
func (s *spawned) cpu(t *testing.T) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var user, system int64
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		t.Fatal(err)
	}
	return time.Duration(user+system) * time.Second / 100 // USER_HZ
}

// TestNoDescriptorsLeft: a server that can open no further file serves those
// that are connected, says so without a flood of lines, does not spin, takes
// others again when there is room, and ends.
// It takes 2 s: the processor time of a server out of descriptors is compared over a second.
func TestNoDescriptorsLeft(t *testing.T) {
	t.Parallel()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	s := spawn(t, log)
	ada, bob := s.chat(t)
	began := time.Now()
	s.limitFiles(t, 3)
	crowd := func() (leave func()) {
		var conns []net.Conn
		for range 20 {
			conn, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
		}
		return func() {
			for _, conn := range conns {
				conn.Close()
			}
		}
	}
	leave := crowd()
	logged := func() string {
		text, err := os.ReadFile(log.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for deadline := time.Now().Add(patience); !strings.Contains(logged(), "out of file descriptors"); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("nothing is said of it:\n%s", logged())
		}
	}
	before := s.cpu(t)
	for range 10 {
		say(t, ada, bob)
		say(t, bob, ada)
		time.Sleep(100 * time.Millisecond)
	}
	if used := s.cpu(t) - before; used > 600*time.Millisecond {
		t.Errorf("%v of processor time in a second", used)
	}
	leave()
	s.chat(t) // waits until there is room
	defer crowd()()
	say(t, ada, bob)
	s.stop(t)
	text, most := logged(), 3+int(time.Since(began)/(10*time.Second))
	if n := strings.Count(text, "out of file descriptors"); n > most || !strings.Contains(text, "mycelium doctor") {
		t.Errorf("said %d times:\n%s", n, text)
	}
}

// TestBenchSaysWhatIsWrong: a server that has run out of descriptors is no riddle
// to who puts it under load, whether the server is known by --pid or not.
// It takes 3 s: the patience of mycelium bench is whole seconds.
func TestBenchSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	s := spawn(t, log)
	s.limitFiles(t, 8)
	var out []byte
	for _, patience := range []string{"1s", "8s", "60s"} { // a busy server accepts too few in a second to run out
		out, err = exec.Command(s.cmd.Path, "bench", "join", "ws://"+s.addr+"/socket", "-c", "40", "--patience="+patience).CombinedOutput()
		if err == nil {
			t.Error("40 clients have joined with 8 descriptors")
		}
		if strings.Contains(string(out), "has run out of") {
			break
		}
	}
	for _, want := range []string{
		fmt.Sprintf("process %d may open ", s.cmd.Process.Pid), "too few for 40 connections",
		"no progress", fmt.Sprintf("the server (process %d) has run out of file descriptors", s.cmd.Process.Pid), "mycelium doctor",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	s.stop(t)
}
