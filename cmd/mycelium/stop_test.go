//go:build unix

package main

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestASecondSignal: who does not want to wait for the drain sends it once more.
func TestASecondSignal(t *testing.T) {
	p := launch(t, t.TempDir(), "--drain-delay=1m")
	p.listening(t)
	ended := make(chan struct{})
	go func() { p.cmd.Wait(); close(ended) }()
	tell := func() {
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Log(err) // it has ended
		}
	}
	tell()
	waitUntil(t, p, func() bool { return strings.Contains(p.log.String(), "no longer ready") })
	for deadline := time.After(patience); ; {
		tell()
		select {
		case <-ended:
			if status := p.cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGTERM {
				t.Errorf("ended with %v\n%s", p.cmd.ProcessState, p.log)
			}
			return
		case <-time.After(10 * time.Millisecond):
		case <-deadline:
			p.kill(t)
			t.Fatal("it drains on")
		}
	}
}

func waitUntil(t *testing.T, p *process, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			p.kill(t)
			t.Fatalf("waited in vain:\n%s", p.log)
		}
	}
}
