package attack

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/httpapi"
	"github.com/mycelium-rt/mycelium/internal/addrtest"
)

// patience is how long a test waits for a condition. Only failing tests wait that long.
const patience = 90 * time.Second

// victim is a "mycelium serve".
type victim struct {
	// Static.
	addr   string
	tcp    string // where it serves raw TCP
	scheme string // of its sockets: ws or wss
	key    string // of the API, for everything
	cmd    *exec.Cmd
	log    *os.File // the reading end of its log

	logged  atomic.Int64  // bytes
	stopped atomic.Bool   // it has been told to stop
	logEnd  chan struct{} // closed when the log is no longer read
}

// configuration has the limits of a small deployment, a trusted proxy, a chat besides
// the relay, and an instance whose provider of keys never answers.
const configuration = `
listen: %q
tcp_listen: %q
compress: true
log: {format: json}
trusted_proxies: [127.0.1.0/24]
limits: {max_connections: 1000, max_message: 512KiB, outbound_bytes: 640KiB, send_buffer: 128KiB}
drain: {timeout: %v}
metrics: {token: %s}
api:
  private_jwks: true
  keys:
    - {name: attack, hash: %q, scopes: [admin]}
instances:
  - {id: rooms, type: chat}
  - id: guarded
    type: relay
    auth: {jwks: {urls: ["http://%v/keys"], timeout: 40s}, join: ["*"]}
`

const (
	drainTimeout = 5 * time.Second
	metricsToken = "a-token-of-those-who-measure"
)

// startVictim starts a server whose configuration also has more. It is stopped at the end of
// the test, if not before.
func startVictim(t *testing.T, more string) *victim {
	t.Helper()
	silent := listen(t) // the kernel accepts connections, but nobody answers
	secret, key := httpapi.NewKey("attack", []httpapi.Scope{httpapi.Admin}, nil)
	v := &victim{addr: addrtest.Free(t), tcp: addrtest.Free(t), key: secret, logEnd: make(chan struct{}), scheme: "ws"}
	if strings.HasPrefix(more, "tls:") {
		v.scheme = "wss"
	}
	file := filepath.Join(t.TempDir(), "mycelium.yaml")
	text := fmt.Sprintf(configuration, v.addr, v.tcp, drainTimeout, metricsToken, key.Hash, silent.Addr()) + more
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log, end, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	v.log, v.cmd = log, exec.Command(program, "serve", "--config", file)
	v.cmd.Stderr = end
	err = v.cmd.Start()
	end.Close()
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	go v.readLog(&said)
	t.Cleanup(func() {
		v.stop(t)
		if t.Failed() {
			t.Logf("the beginning of the log:\n%s", said.Bytes())
		}
	})
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if c, err := net.Dial("tcp", v.addr); err == nil {
			c.Close()
			return v
		}
		if time.Now().After(deadline) {
			t.Fatal("the server does not listen")
		}
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// readLog counts the bytes of the log until its end or until blockLog, and keeps its
// beginning.
func (v *victim) readLog(said *bytes.Buffer) {
	defer close(v.logEnd)
	buf := make([]byte, 64<<10)
	for {
		n, err := v.log.Read(buf)
		v.logged.Add(int64(n))
		said.Write(buf[:min(n, max(0, 4096-said.Len()))])
		if err != nil {
			return
		}
	}
}

// blockLog stops reading the log. The pipe stays open until the server has exited.
func (v *victim) blockLog(t *testing.T) {
	t.Helper()
	if err := v.log.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	<-v.logEnd
}

// stop stops the server with SIGTERM, unless it was stopped before. It may take its drain
// timeout and slackStop.
func (v *victim) stop(t *testing.T) {
	t.Helper()
	if v.stopped.Swap(true) {
		return
	}
	began := time.Now()
	v.cmd.Process.Signal(syscall.SIGTERM)                              // Wait reports errors
	stuck := time.AfterFunc(patience, func() { v.cmd.Process.Kill() }) // as above
	defer stuck.Stop()
	if err := v.cmd.Wait(); err != nil {
		t.Errorf("the server ended with %v", err)
	}
	if took := time.Since(began); took > drainTimeout+slackStop {
		t.Errorf("the server took %v to end", took)
	}
	<-v.logEnd
	v.log.Close()
}

// resident returns the server's resident memory, in bytes.
func (v *victim) resident(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", v.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if text, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(text), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatal("no VmRSS: has the server ended?")
	return 0
}

// descriptors returns how many files the server has open.
func (v *victim) descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", v.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
