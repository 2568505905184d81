package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/mycelium-rt/mycelium/internal/addrtest"
)

// server is a measured process.
type server struct {
	name  string
	topic string   // that its channel serves
	echo  []string // flags of mycelium bench for an event that its channel replies to
	args  func(addr, port string) []string
	addr  string
	tcp   string    // where it serves raw TCP; "" if it does not
	cmd   *exec.Cmd // nil before the first start
}

// The servers, by their place in a turn. Both servers of mycelium have default limits,
// routing and logging. Presence is off, because the yardstick has none.
const (
	yardstick = iota
	relayServer
	labServer
	serverCount
)

// relayEcho makes the relay reply and broadcast to nobody else.
var relayEcho = []string{"--event=echo", "--topics=1000", "--topic=room:{n}", `--join-payload={"self":false}`}

// recordedTopic is a topic of mycelium serve whose messages are recorded; those of all
// other figures are not. recording is the configuration that says so.
const (
	recordedTopic = "kept:{n}"
	recording     = "history: {rules: [{topics: [\"kept:*\"]}]}\n"
)

// servers has all servers.
type servers struct {
	all    [serverCount]*server
	dir    string
	spread bool // the system chooses their processors
}

func (s *servers) close() {
	for _, srv := range s.all {
		srv.stop()
		srv.cmd = nil
	}
	_ = os.RemoveAll(s.dir) // a temporary folder
}

// buildServers builds and starts the three programs. flags are added to those of mycelium
// serve.
func buildServers(ctx context.Context, spread bool, flags ...string) (*servers, error) {
	dir, err := os.MkdirTemp("", "mycelium-bench-")
	if err != nil {
		return nil, err
	}
	s := &servers{dir: dir, spread: spread}
	s.all = [serverCount]*server{
		yardstick: {name: "yardstick", topic: "room:bench", echo: []string{"--event=echo"}, args: func(_, port string) []string {
			return []string{port}
		}},
		relayServer: {name: "mycelium", topic: "room:bench", echo: relayEcho, args: func(addr, _ string) []string {
			return append([]string{
				"serve", "--listen=" + addr, "--tcp-listen=" + s.all[relayServer].tcp, "--presence-off=*", "--config=" + filepath.Join(dir, "mycelium.yaml"),
				"--tls-cert=" + filepath.Join(dir, certFile), "--tls-key=" + filepath.Join(dir, keyFile), "--tls-clear=allow",
			}, flags...)
		}},
		labServer: {name: "labapp", topic: "echo:bench", echo: []string{"--event=echo"}, args: func(addr, _ string) []string {
			return []string{"-addr", addr}
		}},
	}
	if err = os.WriteFile(filepath.Join(dir, "mycelium.yaml"), []byte(recording), 0o600); err == nil {
		err = writeCertificate(dir)
	}
	if err == nil {
		err = s.build(ctx)
	}
	for k := 0; k < len(s.all) && err == nil; k++ {
		err = s.restart(k)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// restart starts a server, after stopping it if it runs.
func (s *servers) restart(k int) error {
	srv := s.all[k]
	srv.stop()
	addr, err := addrtest.Find()
	if err != nil {
		return err
	}
	if k == relayServer {
		if srv.tcp, err = addrtest.Find(); err != nil {
			return err
		}
	}
	_, port, _ := net.SplitHostPort(addr)
	srv.addr, srv.cmd = addr, exec.Command(filepath.Join(s.dir, srv.name), srv.args(addr, port)...)
	start := func() error { return srv.start(filepath.Join(s.dir, srv.name+".log")) }
	cpu, _, ok := processors()
	if s.spread || !ok {
		return start()
	}
	return on(cpu, start)
}

func (s *servers) build(ctx context.Context) error {
	compiler, err := output(ctx, "go", "env", "CC")
	if err != nil {
		return err
	}
	if _, err := exec.LookPath(compiler); err != nil {
		return fmt.Errorf("no C compiler (%s), which the yardstick needs: install one (gcc), or name it in the variable CC; make bench-go runs the Go benchmarks without", compiler)
	}
	if _, err := output(ctx, "go", "build", "-o", s.dir+"/", "./cmd/mycelium", "./compat_tests/labapp"); err != nil {
		return err
	}
	_, err = output(ctx, compiler, "-O2", "-o", filepath.Join(s.dir, "yardstick"), "compat_tests/bench/yardstick/yardstick.c")
	return err
}

// output runs a program and returns what it printed.
func output(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return "", fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), err, out, exit.Stderr)
	}
	return strings.TrimSpace(string(out)), err
}

// start starts the process and waits until it listens.
func (s *server) start(log string) error {
	file, err := os.Create(log)
	if err != nil {
		return err
	}
	defer file.Close()
	s.cmd.Stdout, s.cmd.Stderr = file, file
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that an interrupt reaches only this process
	if err := s.cmd.Start(); err != nil {
		return err
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", cmp.Or(s.tcp, s.addr)) // raw TCP comes last
		if err == nil {
			return c.Close()
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(log)
			return fmt.Errorf("%s does not listen: %w\n%s", s.name, err, text)
		}
	}
}

func (s *server) stop() {
	if s.cmd == nil || s.cmd.Process == nil {
		return // it has not been started, or could not be
	}
	_ = s.cmd.Process.Kill() // it may be gone
	_ = s.cmd.Wait()
}
