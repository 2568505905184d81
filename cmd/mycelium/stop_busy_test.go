package main

import (
	"errors"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/internal/config"
)

// hangingStore does not close before it is told to, as one on a disk that does not
// answer.
type hangingStore struct {
	instances.Store
	closed chan struct{}
}

func (s hangingStore) Close() error { <-s.closed; return s.Store.Close() }

// TestStopDoesNotHang: what does not end within drain.timeout is left behind.
func TestStopDoesNotHang(t *testing.T) {
	endpoint, err := channels.NewEndpoint(channels.Options{Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	store := hangingStore{new(instances.Memory), make(chan struct{})}
	d := &daemon{
		cfg:      &config.Config{Drain: config.Drain{Timeout: 10 * time.Millisecond}},
		endpoint: endpoint, instances: instances.New(endpoint, instances.Options{}), store: store,
		history: history.NewStore(history.Options{}),
	}
	d.events = d.newEvents()
	if err := d.openRevocations(); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- d.close() }()
	select {
	case err := <-stopped:
		if !errors.Is(err, errStillBusy) {
			t.Errorf("stopped with %v", err)
		}
	case <-time.After(endWithin):
		t.Error("it hangs")
	}
	close(store.closed)
}

// endWithin is what a server may take to end on a loaded machine. One that waits
// for its log, or for its store, never ends.
const endWithin = patience
