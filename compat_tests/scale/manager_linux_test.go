package scale

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/instances/relay"
)

// faultyInstances is how many instances crash while the others are measured.
const faultyInstances = 50

// faultBackoff is a tenth of a server's default, for ten times as many crashes.
const faultBackoff = 100 * time.Millisecond

// creationCost is what it cost to create the instances.
type creationCost struct {
	Took time.Duration
	Each int64 // bytes of heap and stacks
}

// newInstances creates n instances, at /socket/i0 and so on, and serves /created, /faults
// and /calm for the test.
func newInstances(ctx context.Context, e *channels.Endpoint, debug *http.ServeMux, n int) (*instances.Manager, error) {
	log := zerolog.New(io.Discard) // crashes are logged, but nobody reads that
	m := instances.New(e, instances.Options{
		Logger: &log, MaxCrashes: 1 << 30, Backoff: faultBackoff,
		Sockets: func(instances.Spec) (channels.SocketOptions, func(), error) {
			return channels.SocketOptions{CheckOrigin: channels.AnyOrigin, IdleTimeout: time.Hour}, nil, nil
		},
	})
	m.Register(relay.Type())
	m.Register(instances.Define("faulty", "Crashes over and over.", newFaulty))
	m.Register(instances.Define("spout", "Broadcasts in a loop.", newSpout))
	before, began := inUse(), time.Now()
	for i := range n {
		if _, _, err := m.Create(ctx, instances.Spec{ID: fmt.Sprint("i", i), Type: "relay", Config: json.RawMessage(`{"presence_off":["*"]}`)}); err != nil {
			return nil, err
		}
	}
	made := creationCost{Took: time.Since(began)}
	made.Each = (inUse() - before) / int64(max(1, n))
	debug.HandleFunc("/created", func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(made) })
	debug.HandleFunc("/faults", func(w http.ResponseWriter, r *http.Request) { answer(w, startFaults(r.Context(), m)) })
	debug.HandleFunc("/calm", func(w http.ResponseWriter, r *http.Request) { answer(w, stopFaults(r.Context(), m, w)) })
	debug.HandleFunc("/spout", func(w http.ResponseWriter, r *http.Request) { answer(w, openSpout(r, m)) })
	debug.HandleFunc("/stats", func(w http.ResponseWriter, r *http.Request) { answer(w, writeStats(w, r, m)) })
	return m, nil
}

func answer(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func inUse() int64 {
	var s runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc + s.StackInuse)
}

// faults is the logic of an instance that crashes.
type faults struct {
	In string `json:"in" jsonschema:"enum=start,enum=tick,enum=go"`
}

type faulty struct {
	in    *instances.Instance
	where string
}

func newFaulty(in *instances.Instance, c faults) (instances.Logic, error) {
	return &faulty{in, c.In}, nil
}

func (f *faulty) Channels() []*channels.Channel { return nil }

func (f *faulty) Start(context.Context) error {
	if f.where == "start" {
		panic("in Start")
	}
	if f.where == "go" {
		f.in.Go("a goroutine", func(context.Context) error { panic("in a goroutine") })
	}
	return nil
}

func (f *faulty) TickEvery() time.Duration { return time.Millisecond }

func (f *faulty) Tick(time.Time) error {
	if f.where == "tick" {
		panic("in Tick")
	}
	return nil
}

func startFaults(ctx context.Context, m *instances.Manager) error {
	for i := range faultyInstances {
		where := []string{"start", "tick", "go"}[i%3]
		_, _, err := m.Create(ctx, instances.Spec{ID: fmt.Sprint("bad", i), Type: "faulty", Config: json.RawMessage(`{"in":"` + where + `"}`)})
		if err != nil {
			return err
		}
	}
	return nil
}

// stopFaults removes the faulty instances, and writes how often they have crashed.
func stopFaults(ctx context.Context, m *instances.Manager, w io.Writer) error {
	crashes := int64(0)
	for i := range faultyInstances {
		id := fmt.Sprint("bad", i)
		stats, err := m.Stats(id)
		if err != nil {
			return err
		}
		crashes += stats.Crashes
		if err := m.Delete(ctx, id, instances.AnyRevision); err != nil {
			return err
		}
		if _, err := m.Await(ctx, id); !errors.Is(err, instances.ErrNotFound) {
			return fmt.Errorf("removing %s: %w", id, err)
		}
	}
	return json.NewEncoder(w).Encode(crashes)
}
