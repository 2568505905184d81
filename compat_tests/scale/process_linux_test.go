package scale

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is a server in a process of its own.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	addr   string
	log    bytes.Buffer // stderr; read it only after the process has exited
	ended  chan error
	client http.Client
}

// startServer runs the test binary as the server. It is killed when the test ends, if it
// has not exited before.
func startServer(t *testing.T, s settings) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	values, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: exec.Command(self), ended: make(chan error, 1)}
	p.client.Transport = &http.Transport{DisableKeepAlives: true} // idle connections would count as the server's
	p.cmd.Env = append(os.Environ(), serverEnv+"="+string(values))
	if *heapFile != "" {
		p.cmd.Env = append(p.cmd.Env, profileEnv+"=1")
	}
	p.cmd.Stderr = &p.log
	stdin, err := p.cmd.StdinPipe() // ends with this process
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := startOn(s.Processor, p.cmd); err != nil {
		t.Fatal(err)
	}
	line, readErr := bufio.NewReader(stdout).ReadString('\n')
	go func() { p.ended <- p.cmd.Wait() }()
	t.Cleanup(func() {
		stdin.Close()
		p.cmd.Process.Kill()
		<-p.ended
		if log := p.log.String(); log != "" && t.Failed() {
			t.Logf("the server's log:\n%.4000s", log)
		}
	})
	if readErr != nil {
		t.Fatalf("the server did not start: %v", readErr)
	}
	p.addr = strings.TrimSpace(line)
	return p
}

// usage returns what the server uses.
func (p *process) usage() usage {
	p.t.Helper()
	var u usage
	if err := json.Unmarshal(p.get("/usage"), &u); err != nil {
		p.t.Fatal(err)
	}
	return u
}

// cpu returns the CPU time that the server has used.
func (p *process) cpu() time.Duration {
	p.t.Helper()
	var d time.Duration
	if err := json.Unmarshal(p.get("/cpu"), &d); err != nil {
		p.t.Fatal(err)
	}
	return d
}

func (p *process) get(path string) []byte {
	p.t.Helper()
	res, err := p.client.Get("http://" + p.addr + path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		p.t.Fatalf("GET %s: %s: %v", path, res.Status, err)
	}
	return body
}

// await waits until ok returns true for the server's usage, and returns the usage.
func (p *process) await(what string, ok func(usage) bool) usage {
	p.t.Helper()
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		u := p.usage()
		if ok(u) {
			return u
		}
		if time.Since(begun) > patience {
			p.t.Fatalf("waited for %s, the server has %+v", what, u)
		}
	}
}

// writeHeapProfile writes the profile of -heap.
func (p *process) writeHeapProfile() {
	p.t.Helper()
	if *heapFile == "" {
		return
	}
	if err := os.WriteFile(*heapFile, p.get("/debug/pprof/heap?gc=1"), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// terminate sends SIGTERM.
func (p *process) terminate() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
}

// awaitExit waits until the server has exited after terminate. Its log must be empty: it
// logs only what is wrong.
func (p *process) awaitExit() {
	p.t.Helper()
	if log := p.awaitLog(); log != "" {
		p.t.Errorf("the server's log:\n%s", log)
	}
}

// awaitLog waits until the server has exited, and returns its log.
func (p *process) awaitLog() string {
	p.t.Helper()
	select {
	case err := <-p.ended:
		p.ended <- err
		if err != nil {
			p.t.Errorf("the server exited with %v", err)
		}
	case <-time.After(patience):
		p.t.Fatal("the server did not exit by itself")
	}
	return p.log.String()
}
