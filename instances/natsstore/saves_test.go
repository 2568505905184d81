package natsstore_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
)

// saves is what workers have reported about all instances.
type saves struct {
	mu  sync.Mutex
	all map[string]*history // by instance, guarded by mu
}

// history is what is known about one instance.
type history struct {
	starts map[string]count // by run: the state that it started with
	acked  map[string]int   // by run: the last number that was acknowledged
	lost   int              // runs that were refused a save
	now    count            // what is stored
	past   map[string]bool  // runs after which another one has stored something
	stored int              // values that were seen
}

func newSaves() *saves { return &saves{all: map[string]*history{}} }

// add notes a line of a worker.
func (s *saves) add(line string) error {
	kind, rest, _ := strings.Cut(line, " ")
	id, rest, _ := strings.Cut(rest, " ")
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.history(id)
	switch kind {
	case lineStart:
		var c count
		if err := json.Unmarshal([]byte(rest), &c); err != nil {
			return err
		}
		h.starts[c.Run] = c
	case lineAcked:
		var run string
		var n int
		if _, err := fmt.Sscan(rest, &run, &n); err != nil {
			return err
		}
		h.acked[run] = max(h.acked[run], n)
	case lineLost:
		h.lost++
	default:
		return errors.New("unknown")
	}
	return nil
}

// history returns the history of an instance. mu is held.
func (s *saves) history(id string) *history {
	if s.all[id] == nil {
		s.all[id] = &history{starts: map[string]count{}, acked: map[string]int{}, past: map[string]bool{}}
	}
	return s.all[id]
}

// stored notes a value that was stored. Values come in order, and some may be left out. It
// returns an error if the value must not follow the last one.
func (s *saves) stored(id string, value []byte) error {
	var c count
	if err := json.Unmarshal(value, &c); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.history(id)
	was := h.now
	h.now = c
	h.stored++
	switch {
	case h.past[c.Run]:
		return fmt.Errorf("number %d of run %s is stored after one of its successor, run %s", c.N, c.Run, was.Run)
	case c.Run == was.Run && c.N < was.N:
		return fmt.Errorf("number %d of run %s is stored after number %d", c.N, c.Run, was.N)
	case c.Run != was.Run && c.From != nil && c.From.Run == was.Run && c.From.N < was.N:
		return fmt.Errorf("run %s goes on from number %d of run %s, which had stored %d", c.Run, c.From.N, was.Run, was.N)
	case c.Run != was.Run:
		h.past[was.Run] = true
	}
	return nil
}

// of returns what is known about an instance.
func (s *saves) of(id string) *history {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[id]
}

// owned returns how many instances have been owned.
func (s *saves) owned() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// takeovers returns how many runs continued from what another one had saved.
func (s *saves) takeovers() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.all {
		for _, c := range h.starts {
			if c.From != nil {
				n++
			}
		}
	}
	return n
}

// counts returns the highest number of each instance that was acknowledged.
func (s *saves) counts() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]int{}
	for id, h := range s.all {
		all[id] = slices.Max(append(slices.Collect(maps.Values(h.acked)), 0))
	}
	return all
}

// String sums it up.
func (s *saves) String() string {
	takeovers, acked, lost, stored := s.takeovers(), 0, 0, 0
	for _, n := range s.counts() {
		acked += n
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.all {
		lost += h.lost
		stored += h.stored
	}
	return fmt.Sprintf("%d instances, %d takeovers; %d saves acknowledged, %d seen in the store; %d owners were refused a late save", len(s.all), takeovers, acked, stored, lost)
}

// check goes back from the last state, run by run, and returns the acknowledged numbers that
// are not on that path.
func (h *history) check(last count) (wrong []string) {
	reached := map[string]int{} // by run: its last number that counts
	for at := &last; at != nil; {
		if _, twice := reached[at.Run]; twice {
			return []string{fmt.Sprintf("run %s goes on from itself", at.Run)}
		}
		reached[at.Run] = at.N
		start, known := h.starts[at.Run]
		if !known {
			return []string{fmt.Sprintf("nobody has started run %s", at.Run)}
		}
		at = start.From
	}
	for run, n := range h.acked {
		switch to, counts := reached[run]; {
		case !counts:
			wrong = append(wrong, fmt.Sprintf("number %d of run %s was acknowledged, and no later state goes on from the run", n, run))
		case n > to:
			wrong = append(wrong, fmt.Sprintf("number %d of run %s was acknowledged, and the next run goes on from %d", n, run, to))
		}
	}
	return wrong
}

// TestSavesCheck: the checker finds the faults that it is meant to find.
func TestSavesCheck(t *testing.T) {
	for name, c := range map[string]struct {
		lines string
		last  count
		want  string
	}{
		"right": {
			`start x {"Run":"a","N":0}
acked x a 1
acked x a 2
start x {"Run":"b","N":3,"From":{"Run":"a","N":3}}
acked x b 4`,
			count{Run: "b", N: 4}, "",
		},
		"a lost save": {
			`start x {"Run":"a","N":0}
acked x a 2
start x {"Run":"b","N":1,"From":{"Run":"a","N":1}}
acked x b 2`,
			count{Run: "b", N: 2}, "number 2 of run a was acknowledged, and the next run goes on from 1",
		},
		"two owners": {
			`start x {"Run":"a","N":0}
acked x a 1
start x {"Run":"b","N":1,"From":{"Run":"a","N":1}}
start x {"Run":"c","N":1,"From":{"Run":"a","N":1}}
acked x b 2
acked x c 2`,
			count{Run: "c", N: 2}, "number 2 of run b was acknowledged, and no later state goes on from the run",
		},
	} {
		s := newSaves()
		for line := range strings.SplitSeq(c.lines, "\n") {
			if err := s.add(line); err != nil {
				t.Fatal(err)
			}
		}
		if got := strings.Join(s.of("x").check(c.last), "; "); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
