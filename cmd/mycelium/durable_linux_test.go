package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mycelium-rt/mycelium/internal/natstest"
	"github.com/mycelium-rt/mycelium/internal/waittest"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// pusher pushes on a topic and waits for each answer.
type pusher struct {
	*wstest.Client
	t     *testing.T
	topic string
	ref   int
}

func joinAs(t *testing.T, addr, topic string) *pusher {
	t.Helper()
	c, err := wstest.Dial(addr, atDefault, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Drop() })
	c.Timeout = patience
	p := &pusher{c, t, topic, 1}
	if answer := p.push("phx_join", `{"self":false}`); !strings.Contains(answer, `"status":"ok"`) {
		t.Fatal(answer)
	}
	return p
}

// push returns the answer to an event.
func (p *pusher) push(event, payload string) string {
	p.ref++
	if err := p.WriteText(fmt.Sprintf(`["1","%d",%q,%q,%s]`, p.ref, p.topic, event, payload)); err != nil {
		p.t.Error(err)
		return ""
	}
	for {
		_, data, err := p.ReadMessage()
		if err != nil {
			p.t.Error(err)
			return ""
		}
		if strings.HasPrefix(string(data), fmt.Sprintf(`["1","%d",`, p.ref)) {
			return string(data)
		}
	}
}

func (p *pusher) ok() bool {
	return strings.Contains(p.push("say", `{"text":"`+strings.Repeat("x", 2000)+`"}`), `"status":"ok"`)
}

// latencies pushes on a topic that is not durable, while work runs, and returns how long
// the answers took, in order.
func latencies(t *testing.T, addr string, work func()) []time.Duration {
	p := joinAs(t, addr, "lobby")
	done := make(chan struct{})
	var worker sync.WaitGroup
	worker.Go(func() {
		defer close(done)
		work()
	})
	var all []time.Duration
	for over := false; !over; {
		start := time.Now()
		if !p.ok() {
			t.Error("a topic that is not durable is refused")
		}
		all = append(all, time.Since(start))
		select {
		case <-done:
			over = true
		case <-time.After(time.Millisecond):
		}
	}
	worker.Wait()
	slices.Sort(all)
	return all
}

// refusals pushes on a durable topic until that many pushes were refused, with some of them
// outstanding at any time, and returns the answers.
func refusals(t *testing.T, addr string, n int) map[string]int {
	const pushers = 8
	reasons := make(map[string]int)
	var mu sync.Mutex
	var all sync.WaitGroup
	for range pushers {
		p := joinAs(t, addr, "room:1")
		all.Go(func() {
			for range n / pushers {
				answer := p.push("say", `{"text":"`+strings.Repeat("x", 2000)+`"}`)
				_, reason, refused := strings.Cut(answer, `"reason":"`)
				reason, _, _ = strings.Cut(reason, `"`)
				mu.Lock()
				if refused {
					reasons[reason]++
				} else {
					reasons["ok"]++
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return reasons
}

// besides checks that nobody else has waited for the store, and logs how long they took.
func besides(t *testing.T, what string, all []time.Duration) {
	t.Helper()
	t.Logf("%s: %d pushes on a topic that is not durable: p50 %v, p99 %v, max %v", what, len(all), all[len(all)/2], all[len(all)*99/100], all[len(all)-1])
	// Those that wait for the store wait for up to 5 s. The rest is a loaded machine.
	if p90 := all[len(all)*9/10]; p90 > 4*time.Second {
		t.Errorf("%s: a tenth of the pushes on a topic that is not durable took more than %v", what, p90)
	}
}

// TestDurableOnFullDisk: while the disk is full, durable messages are refused with that reason,
// and nobody else waits. Once there is room they are stored again, and what was answered
// ok before is there.
func TestDurableOnFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=32m"); err != nil {
		t.Skipf("a file system cannot be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	config := filepath.Join(t.TempDir(), "mycelium.yaml")
	writeFile(t, config, "history: {disk: 16MiB, rules: [{topics: ['room:*'], messages: 100000, bytes: 1GiB, age: 24h, durable: true}]}\n")
	s := launch(t, filepath.Join(dir, "data"), "--config="+config)
	defer func() { s.kill(t) }()
	s.listening(t)
	besides(t, "before", latencies(t, s.addr, func() {
		if got := refusals(t, s.addr, 2000); got["ok"] != 2000 {
			t.Errorf("%v", got)
		}
	}))
	full := filepath.Join(dir, "fill")
	fillDisk(t, full)
	besides(t, "while the disk is full", latencies(t, s.addr, func() {
		var got map[string]int
		waittest.For(t, "messages are refused because the disk is full", func() bool {
			got = refusals(t, s.addr, 2000)
			return got["not stored: the disk is full"] > 0
		})
		t.Logf("%v", got)
	}))
	if err := os.Remove(full); err != nil {
		t.Fatal(err)
	}
	p := joinAs(t, s.addr, "room:1")
	waittest.For(t, "messages are stored again", p.ok)
	if p.push("say", `{"last":1}`); t.Failed() {
		t.FailNow()
	}
	s.kill(t)
	s = launch(t, filepath.Join(dir, "data"), "--config="+config)
	s.listening(t)
	reader := enter(t, s.addr, `{"history":{"last":100000}}`)
	found := 0
	for {
		_, data, err := reader.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), `"text":`) {
			found++
		}
		if strings.Contains(string(data), `{"last":1}`) {
			break
		}
	}
	if found < 2001 {
		t.Errorf("%d messages are there, at least 2,001 were answered ok", found)
	}
}

func fillDisk(t *testing.T, file string) {
	t.Helper()
	f, err := os.Create(file)
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

// TestDurableWithoutJetStream: while JetStream is stopped, durable messages are refused,
// and nobody else waits. When it is back they are stored again.
func TestDurableWithoutJetStream(t *testing.T) {
	t.Parallel()
	nats := natstest.StartJetStream(t)
	config := filepath.Join(t.TempDir(), "mycelium.yaml")
	writeFile(t, config, durableConfig)
	n := startNode(t, "a", "--cluster-nats-url="+nats.URL(), "--config="+config)
	wait(t, "the history is open", func() bool { return strings.Contains(n.log.String(), "the durable history is open") })
	besides(t, "before", latencies(t, n.addr, func() {
		if got := refusals(t, n.addr, 2000); got["ok"] != 2000 {
			t.Errorf("%v", got)
		}
	}))
	nats.Stop()
	besides(t, "without JetStream", latencies(t, n.addr, func() {
		got := refusals(t, n.addr, 4000)
		if got["ok"] > 0 {
			t.Errorf("%v", got)
		}
		t.Logf("%v", got)
		if status, text := n.call(t, "POST", "/api/instances/default/broadcast", `{"topic":"room:1","event":"say"}`); status != 503 || !strings.Contains(text, "not-stored") {
			t.Errorf("%d %s", status, text)
		}
		if status, text := n.call(t, "DELETE", "/api/instances/default/topics/room:1/history", ""); status != 503 || !strings.Contains(text, "not-erased") {
			t.Errorf("%d %s", status, text)
		}
	}))
	nats.Restart()
	p := joinAs(t, n.addr, "room:1")
	waittest.For(t, "messages are stored again", p.ok)
	waittest.For(t, "the metrics to say so", func() bool {
		text := n.metrics(t)
		return strings.Contains(text, "mycelium_history_durable_up 1\n") && !strings.Contains(text, "mycelium_history_durable_refused_total 0\n")
	})
}
