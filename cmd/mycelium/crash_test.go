//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/keyfile"
)

// crashRounds is how often TestKilledOverHTTP kills the server.
const crashRounds = "MYCELIUM_CRASHES"

// crashWorkers change instances of their own, so that the last thing that each
// instance was acknowledged to be is known.
const crashWorkers, crashIDs = 4, 3

// TestKilledOverHTTP kills "mycelium serve --data" with SIGKILL while instances
// are created, changed, drained, resumed and deleted over HTTP: it comes back
// with exactly what it has answered. Of a request that was not answered, either
// is right; a POST that is sent again says which.
func TestKilledOverHTTP(t *testing.T) {
	t.Parallel()
	rounds := 12
	if text := os.Getenv(crashRounds); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatalf("%s: %v", crashRounds, err)
		}
	}
	dir := t.TempDir()
	var pages []*page
	for i := range crashWorkers * crashIDs {
		pages = append(pages, &page{id: fmt.Sprint("i", i)})
	}
	total := tally{}
	for round := 0; round < rounds || total.missing() != "" && round < 10*rounds; round++ {
		p := launch(t, dir)
		if round%8 == 3 { // while it starts
			time.Sleep(time.Duration(rand.IntN(40)) * time.Millisecond)
			p.kill(t)
			continue
		}
		p.listening(t)
		compare(t, p, pages)
		if t.Failed() {
			p.kill(t)
			t.Fatalf("in round %d", round)
		}
		for kind, n := range workUntilKilled(t, p, pages, round%8 == 6) {
			total[kind] += n
		}
	}
	t.Logf("%d kills; acknowledged between them: %v", rounds, total)
	if kind := total.missing(); kind != "" {
		t.Errorf("no request was %s", kind)
	}
}

// workUntilKilled changes instances and kills the server some time later;
// first, if gently, it tells it to end.
func workUntilKilled(t *testing.T, p *process, pages []*page, gently bool) tally {
	t.Helper()
	var all sync.WaitGroup
	tallies := make([]tally, crashWorkers)
	for w := range crashWorkers {
		tallies[w] = tally{}
		all.Go(func() {
			for mine := pages[w*crashIDs : (w+1)*crashIDs]; ; {
				one := mine[rand.IntN(crashIDs)]
				a := one.choose()
				outcome, err := one.ask(p, a)
				if err != nil {
					t.Errorf("%s of %s: %v", a.kind, one.id, err)
					return
				}
				switch outcome {
				case acknowledged:
					tallies[w][a.kind]++
				case unanswered:
					tallies[w]["unanswered"]++
					return
				case turnedAway:
					return
				}
			}
		})
	}
	time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond)
	if gently {
		p.ending.Store(true)
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond)
	}
	p.kill(t)
	all.Wait()
	total := tally{}
	for _, one := range tallies {
		for kind, n := range one {
			total[kind] += n
		}
	}
	return total
}

// tally counts requests by their kind.
type tally map[string]int

// missing is a kind that there was none of, "" if there is no such.
func (c tally) missing() string {
	for _, kind := range []string{"create", "label", "config", "drain", "resume", "delete", "unanswered"} {
		if c[kind] == 0 {
			return kind
		}
	}
	return ""
}

// compare holds what the server has after its start against the pages, and sends
// each creation once more: the answer is the same instance.
func compare(t *testing.T, p *process, pages []*page) {
	t.Helper()
	found, err := p.list()
	if err != nil {
		t.Errorf("listing: %v", err)
		return
	}
	for _, one := range pages {
		if err := one.settle(found[one.id]); err != nil {
			t.Errorf("%s: %v", one.id, err)
		}
		delete(found, one.id)
		if one.now == nil {
			continue
		}
		if again, err := p.do(one.creation(), http.StatusOK); err != nil || !again.same(one.now, true) {
			t.Errorf("%s: the POST once more: %+v, %v; want %+v", one.id, again, err, one.now)
		}
	}
	for id, i := range found {
		if !i.Declared {
			t.Errorf("nobody has asked for %s: %+v", id, i)
		}
	}
}

// process is "mycelium serve" as a process of its own: this test, called by
// that name.
type process struct {
	cmd    *exec.Cmd
	log    *buffer
	addr   string
	key    string
	client *http.Client
	ending atomic.Bool // told to, or killed: requests may fail
}

func launch(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "mycelium")
	if err := os.Symlink(self, name); err != nil {
		t.Fatal(err)
	}
	p := &process{log: new(buffer), client: &http.Client{Transport: &http.Transport{}, Timeout: time.Minute}}
	args = append([]string{"serve", "--listen=127.0.0.1:0", "--data=" + dir, "--log-format=json"}, args...)
	p.cmd = exec.Command(name, args...)
	p.cmd.Env, p.cmd.Stderr = []string{"XDG_RUNTIME_DIR=" + t.TempDir()}, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// listening waits until it says where it listens.
func (p *process) listening(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		for line := range strings.Lines(p.log.String()) {
			var entry struct{ Addr, Message string }
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Message == "listening" {
				p.addr = entry.Addr
				key, err := keyfile.Find(p.cmd.Env, "http://"+p.addr)
				if err != nil {
					p.kill(t)
					t.Fatal(err)
				}
				p.key = key.Secret
				return
			}
		}
		if time.Now().After(deadline) {
			p.kill(t)
			t.Fatalf("not listening:\n%s", p.log)
		}
	}
}

// kill ends it as a machine that loses its power would, and sees that it has
// not ended by itself.
func (p *process) kill(t *testing.T) {
	t.Helper()
	told := p.ending.Swap(true)
	_ = p.cmd.Process.Kill() // it may have ended, as it was told to
	err := p.cmd.Wait()
	p.client.CloseIdleConnections()
	if status := p.cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL && (!told || err != nil) {
		t.Errorf("the server has ended by itself: %v\n%s", err, p.log)
	}
}
