package main

import (
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
)

// server is a process that is measured.
type server struct {
	name  string
	topic string   // that its channel serves
	echo  []string // flags of mycelium bench that have its channel reply
	addr  string
	cmd   *exec.Cmd
}

// The servers, by their place in a turn. Both of mycelium have their limits,
// routing and logging as they come; only presence is off, which the
// yardstick does not have.
const (
	yardstick = iota
	relayServer
	labServer
	serverCount
)

// relayEcho has the relay answer and broadcast to nobody.
var relayEcho = []string{"--event=echo", "--topics=1000", "--topic=room:{n}", `--join-payload={"self":false}`}

// servers are all of them, running.
type servers struct {
	all [serverCount]*server
	dir string
}

func (s *servers) close() {
	for i, srv := range s.all {
		if srv != nil {
			srv.stop()
			s.all[i] = nil
		}
	}
	_ = os.RemoveAll(s.dir) // a folder of our own in the temporary one
}

// buildServers builds the three programs and starts them.
func buildServers(ctx context.Context) (*servers, error) {
	dir, err := os.MkdirTemp("", "mycelium-bench-")
	if err != nil {
		return nil, err
	}
	s := &servers{dir: dir}
	if err := s.build(ctx); err != nil {
		s.close()
		return nil, err
	}
	for i, command := range [serverCount]struct {
		name, topic string
		echo        []string
		args        func(addr, port string) []string
	}{
		yardstick:   {"yardstick", "room:bench", []string{"--event=echo"}, func(_, port string) []string { return []string{port} }},
		relayServer: {"mycelium", "room:bench", relayEcho, func(addr, _ string) []string { return []string{"serve", "--listen=" + addr, "--presence-off=*"} }},
		labServer:   {"labapp", "echo:bench", []string{"--event=echo"}, func(addr, _ string) []string { return []string{"-addr", addr} }},
	} {
		addr, err := freeAddress()
		if err == nil {
			_, port, _ := net.SplitHostPort(addr)
			s.all[i] = &server{
				name: command.name, topic: command.topic, echo: command.echo, addr: addr,
				cmd: exec.Command(filepath.Join(dir, command.name), command.args(addr, port)...),
			}
			err = s.all[i].start(filepath.Join(dir, command.name+".log"))
		}
		if err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
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

// freeAddress is one that nobody listens on now.
func freeAddress() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

// start starts the process and waits until it listens.
func (s *server) start(log string) error {
	file, err := os.Create(log)
	if err != nil {
		return err
	}
	defer file.Close()
	s.cmd.Stdout, s.cmd.Stderr = file, file
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt is for us
	if err := s.cmd.Start(); err != nil {
		return err
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", s.addr)
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
	if s.cmd.Process == nil {
		return // it could not be started
	}
	_ = s.cmd.Process.Kill() // it may be gone
	_ = s.cmd.Wait()
}
