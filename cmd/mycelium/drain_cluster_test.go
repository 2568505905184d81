package main

import (
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestClusterDrain: nodes that are stopped at the same time close their sockets at the pace
// that one alone has.
func TestClusterDrain(t *testing.T) {
	t.Parallel()
	const each, batch, interval = 30, 10, 500 * time.Millisecond
	flags := append(embedded(t), "--drain-batch=10", "--drain-interval=500ms")
	a := startNode(t, "a", flags...)
	b := startNode(t, "b", append(flags, "--cluster-routes="+a.route)...)
	var all sync.WaitGroup
	var mu sync.Mutex
	var last time.Time
	for _, n := range []*node{a, b} {
		wait(t, "it is ready", func() bool { status, _ := n.ready(t); return status == http.StatusOK })
		for range each {
			m := joinAt(t, n, atDefault, "room:1")
			all.Go(func() {
				for {
					if _, _, err := m.ReadMessage(); err != nil {
						break
					}
				}
				_ = m.Drop() // the server waits for it
				mu.Lock()
				defer mu.Unlock()
				last = time.Now()
			})
		}
	}
	began := time.Now() // before the first close, however late a busy machine tells of that
	for _, n := range []*node{a, b} {
		if err := n.process.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	all.Wait()
	// The first batch is closed at once. With a pace of its own each node would take a second.
	if took, least := last.Sub(began), (2*each/batch-2)*interval; took < least {
		t.Errorf("%d sockets of two nodes were closed within %s, want %s or more", 2*each, took, least)
	}
	for _, n := range []*node{a, b} {
		if err := <-n.ended; err != nil {
			t.Errorf("%s ended with %v", n.name, err)
		}
		n.ended <- nil
	}
}
