package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/internal/waittest"
)

// TestReplaysAreShared: a caller that uses up what is remembered forgets its own
// keys, not those of others.
func TestReplaysAreShared(t *testing.T) {
	p := &replays{now: time.Now}
	sent := 0
	send := func() (*recorded, bool, error) { sent++; return newRecorded(), false, nil }
	once := func(caller, key string) (again bool) {
		t.Helper()
		_, again, err := p.once(&repeat{Caller: caller, Key: key}, send)
		if err != nil {
			t.Fatal(err)
		}
		return again
	}
	once("ada", "order-17")
	for i := range maxReplays + 10 {
		once("eve", fmt.Sprint(i))
	}
	if !once("ada", "order-17") {
		t.Error("eve's keys have pushed out ada's")
	}
	if once("eve", "order-17") || !once("eve", fmt.Sprint(maxReplays)) || once("eve", "0") {
		t.Error("eve's own: the oldest are to be forgotten, and nothing of ada's is hers")
	}
	if p.count > maxReplays || len(p.by["eve"].seen) > maxReplays {
		t.Errorf("%d are remembered", p.count)
	}
}

// TestReplayOfAPanic: nobody waits for a request that has crashed.
func TestReplayOfAPanic(t *testing.T) {
	p := &replays{now: time.Now}
	done := func() (*recorded, bool, error) { return newRecorded(), false, nil }
	running, crash := make(chan struct{}), make(chan struct{})
	ended := make(chan any)
	go func() {
		defer func() { ended <- recover() }()
		p.once(&repeat{Caller: "ada", Key: "1"}, func() (*recorded, bool, error) { // it does not return
			close(running)
			<-crash
			panic("boo")
		})
	}()
	<-running
	second := make(chan error)
	go func() {
		_, _, err := p.once(&repeat{Caller: "ada", Key: "1"}, done)
		second <- err
	}()
	close(crash)
	if got := <-ended; got != "boo" {
		t.Errorf("the panic became %v", got)
	}
	select {
	case err := <-second:
		if err != nil && !errors.Is(err, errNotDone) {
			t.Error(err)
		}
	case <-time.After(waittest.Patience):
		t.Error("the second waits for ever")
	}
	if _, _, err := p.once(&repeat{Caller: "ada", Key: "1"}, done); err != nil {
		t.Errorf("the third: %v", err)
	}
}

// TestListCostsOnePass: the list of a key that is for few instances of many costs
// what one pass costs, however short its pages are.
func TestListCostsOnePass(t *testing.T) {
	const many = 400
	host, err := channels.NewEndpoint(channels.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Shutdown(t.Context()) }) // nobody is connected
	m := instances.New(host, instances.Options{})
	t.Cleanup(func() { m.Close(t.Context()) }) // as above
	m.Register(instances.Define("empty", "Nothing.", func(*instances.Instance, struct{}) (instances.Logic, error) { return empty{}, nil }))
	secret, key := NewKey("few", []Scope{Read}, []string{"mine-*"})
	a, err := New(m, Options{Keys: []Key{key}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range many {
		if _, _, err := m.Create(t.Context(), instances.Spec{ID: fmt.Sprintf("other-%d", i), Type: "empty"}); err != nil {
			t.Fatal(err)
		}
	}
	list := func(limit int) float64 {
		return testing.AllocsPerRun(5, func() {
			r := httptest.NewRequest(http.MethodGet, fmt.Sprintf("/api/instances?limit=%d", limit), nil)
			r.Header.Set("Authorization", "Bearer "+secret)
			w := httptest.NewRecorder()
			if a.ServeHTTP(w, r); w.Code != http.StatusOK {
				t.Fatal(w.Code, w.Body)
			}
		})
	}
	if short, long := list(1), list(maxPage); short > 2*long+50 {
		t.Errorf("a page of one costs %v allocations, one of %d costs %v", short, maxPage, long)
	}
}

type empty struct{}

func (empty) Channels() []*channels.Channel { return nil }
