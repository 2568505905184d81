//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/mycelium-rt/mycelium/internal/addrtest"
)

// server is a running mycelium serve.
type server struct {
	addr, metrics string // addresses; the second is used for /metrics only
	key           string // for the API
	cmd           *exec.Cmd
	ended         chan struct{}
	log           string // name of the log file
}

// startServer starts the program on free ports of loopback. Only topics outside room:* have
// presence.
func startServer(ctx context.Context, program, dir string) (*server, error) {
	var ports [2]string
	for i := range ports {
		var err error
		if ports[i], err = addrtest.Find(); err != nil {
			return nil, err
		}
	}
	program, err := filepath.Abs(program)
	if err != nil {
		return nil, err
	}
	s := &server{addr: ports[0], metrics: ports[1], ended: make(chan struct{}), log: filepath.Join(dir, "server.log")}
	file, err := os.Create(s.log)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	s.cmd = exec.Command(program, "serve", "--listen="+s.addr, "--metrics-listen="+s.metrics, "--metrics-allow=127.0.0.1", "--presence-off=room:*")
	s.cmd.Stdout, s.cmd.Stderr, s.cmd.Env = file, file, environment(dir)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that an interrupt ends the tool first
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w (make build builds the server)", err)
	}
	go func() {
		_ = s.cmd.Wait() // healthy reports what it logged
		close(s.ended)
	}()
	if err := s.ready(ctx, program, dir); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// environment returns the environment without the server's variables, and with a folder in
// which the server saves its key.
func environment(dir string) (list []string) {
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "MYCELIUM_") {
			list = append(list, v)
		}
	}
	return append(list, "XDG_RUNTIME_DIR="+dir)
}

// ready waits until the server answers, and reads its key.
func (s *server) ready(ctx context.Context, program, dir string) error {
	for deadline := time.Now().Add(90 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if err := s.answers(ctx); err == nil {
			break
		} else if time.Now().After(deadline) || ctx.Err() != nil {
			text, _ := os.ReadFile(s.log)
			return fmt.Errorf("no answer from the server: %w\n%s", err, text)
		}
	}
	show := exec.CommandContext(ctx, program, "key", "show")
	show.Env = append(environment(dir), "MYCELIUM_SERVER=http://"+s.addr)
	out, err := show.Output()
	if err != nil {
		return fmt.Errorf("mycelium key show: %w", err)
	}
	s.key = string(bytes.TrimSpace(out))
	return nil
}

func (s *server) answers(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addr+"/readyz", http.NoBody)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("/readyz: %s", answer.Status)
	}
	return nil
}

// client keeps no idle connections: they would count as connections of the server.
var client = &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}

// port returns the port for clients.
func (s *server) port() string { return s.addr[strings.LastIndexByte(s.addr, ':')+1:] }

// create creates a relay instance.
func (s *server) create(ctx context.Context, id string) error {
	body := strings.NewReader(`{"id":` + strconv.Quote(id) + `,"type":"relay","config":{"presence_off":["*"]}}`)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.addr+"/api/instances", body)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+s.key)
	request.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusCreated {
		return fmt.Errorf("creating instance %q: %s", id, answer.Status)
	}
	return nil
}

// healthy returns an error if the server has ended or logged an error.
func (s *server) healthy() error {
	select {
	case <-s.ended:
		return errors.New("the server exited; see " + s.log)
	default:
	}
	text, err := os.ReadFile(s.log)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, `"level":"error"`) || strings.HasPrefix(line, "panic:") {
			return fmt.Errorf("the server logged an error: %s", strings.TrimSpace(line))
		}
	}
	return nil
}

// stop stops the server. Its clients have already disconnected.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-s.ended:
	case <-time.After(time.Minute):
		_ = s.cmd.Process.Kill()
		<-s.ended
	}
}
