package instances_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/instances/boltstore"
)

// crashDir makes a process of this test a server on the store of a directory;
// crashRounds is how often TestKilledAtAnyMoment kills it.
const (
	crashDir    = "MYCELIUM_TEST_CRASH_DIR"
	crashRounds = "MYCELIUM_CRASHES"
)

// entry is a line of the server's: what it has found at its start, what it is
// about to do, and what the manager has acknowledged.
type entry struct {
	Kind string // have, ready, try, ack
	ID   string
	// What the instance is after it: Step 0, there is none.
	Step  int
	Saved int // by its type
}

// crashWorkers each have instances of their own, so that the last thing that
// was acknowledged about one is known.
const crashWorkers, crashIDs = 4, 3

// serveUntilKilled creates, changes and deletes instances for ever.
func serveUntilKilled(dir string) error {
	store, err := boltstore.Open(dir)
	if err != nil {
		return err
	}
	endpoint, err := channels.NewEndpoint(channels.Options{Loops: 1, Portable: true})
	if err != nil {
		return err
	}
	m := instances.New(endpoint, instances.Options{Store: store})
	m.Register(instances.Define("counter", "Counts.", newCounter))
	ctx := context.Background()
	if err := m.Open(ctx); err != nil {
		return err
	}
	page, _ := m.List(instances.Filter{})
	for _, i := range page {
		e, err := entryOf(ctx, m, i)
		if err != nil {
			return err
		}
		tell(e)
	}
	tell(entry{Kind: "ready"})
	failed := make(chan error)
	for w := range crashWorkers {
		go func() { failed <- work(ctx, m, w) }()
	}
	return <-failed
}

func entryOf(ctx context.Context, m *instances.Manager, i instances.Info) (entry, error) {
	if i.State != instances.Running {
		return entry{}, fmt.Errorf("%s is %s: %s", i.ID, i.State, i.Reason)
	}
	var c config
	if err := json.Unmarshal(i.Config, &c); err != nil {
		return entry{}, err
	}
	n, err := m.Signal(ctx, i.ID, "add", json.RawMessage("0"))
	if err != nil {
		return entry{}, err
	}
	saved, err := strconv.Atoi(string(n))
	return entry{Kind: "have", ID: i.ID, Step: c.Step, Saved: saved}, err
}

// tell writes a line in one write: it is read even if the next thing that
// happens is a kill.
func tell(e entry) {
	line, err := json.Marshal(e)
	if err != nil {
		panic(err) // strings and numbers
	}
	os.Stdout.Write(append(line, '\n'))
}

// work changes the worker's instances at random.
func work(ctx context.Context, m *instances.Manager, w int) error {
	now := map[string]entry{}
	for {
		id := fmt.Sprintf("w%d-%d", w, rand.IntN(crashIDs))
		i, err := m.Get(id)
		if errors.Is(err, instances.ErrNotFound) {
			now[id] = entry{ID: id}
		} else if _, ok := now[id]; !ok {
			if now[id], err = entryOf(ctx, m, i); err != nil {
				return err
			}
		}
		e := now[id]
		do := change(m, &e)
		e.Kind = "try"
		tell(e)
		if err := do(ctx); err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		e.Kind = "ack"
		tell(e)
		now[id] = e
		if e.Step == 0 {
			if _, err := m.Await(ctx, id, instances.Stopped); err != nil && !errors.Is(err, instances.ErrNotFound) {
				return err
			}
			for ; err == nil; _, err = m.Get(id) { // until it is gone
			}
		}
	}
}

// change chooses what to do with an instance, and makes e what it is then.
func change(m *instances.Manager, e *entry) func(context.Context) error {
	id, step := e.ID, 1+rand.IntN(12)
	text := json.RawMessage(fmt.Sprintf(`{"step":%d}`, step))
	switch kind := rand.IntN(4); {
	case e.Step == 0:
		e.Step, e.Saved = step, 0
		return func(ctx context.Context) error {
			_, _, err := m.Create(ctx, instances.Spec{ID: id, Type: "counter", Config: text})
			return err
		}
	case kind == 0:
		e.Step, e.Saved = 0, 0
		return func(ctx context.Context) error { return m.Delete(ctx, id, instances.AnyRevision) }
	case kind == 1:
		e.Saved++
		return func(ctx context.Context) error {
			_, err := m.Signal(ctx, id, "add", json.RawMessage("1"))
			if err == nil {
				_, err = m.Signal(ctx, id, "save", nil)
			}
			return err
		}
	}
	e.Step = step
	return func(ctx context.Context) error {
		_, err := m.Update(ctx, id, instances.AnyRevision, func(s *instances.Spec) error { s.Config = text; return nil })
		return err
	}
}

// TestKilledAtAnyMoment kills the server with SIGKILL while it works: it comes
// back with exactly what it has acknowledged. Of what was under way, either is
// right. What a failing disk or a power cut does is bbolt's promise, not shown
// here.
func TestKilledAtAnyMoment(t *testing.T) {
	rounds := 10
	if text := os.Getenv(crashRounds); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatalf("%s: %v", crashRounds, err)
		}
	}
	dir := t.TempDir()
	acked, tried := map[string]entry{}, map[string]entry{}
	total := 0
	for round := range rounds {
		lines := runAndKill(t, dir, time.Duration(rand.IntN(60))*time.Millisecond)
		have := map[string]entry{}
		for len(lines) > 0 && lines[0].Kind == "have" {
			have[lines[0].ID], lines = lines[0], lines[1:]
		}
		if len(lines) == 0 {
			t.Fatalf("round %d: the server did not get ready", round)
		}
		for _, id := range allIDs() {
			h := have[id]
			underWay := tried[id].Kind == "try" && same(h, tried[id])
			if !underWay && !same(h, acked[id]) {
				t.Fatalf("round %d: %s came back as %+v; acknowledged %+v, under way %+v", round, id, h, acked[id], tried[id])
			}
			acked[id] = h // what was under way is decided now
			delete(tried, id)
			delete(have, id)
		}
		if len(have) > 0 {
			t.Fatalf("round %d: nobody has asked for %v", round, have)
		}
		for _, e := range lines[1:] {
			if e.Kind == "ack" {
				acked[e.ID] = e
				total++
				delete(tried, e.ID)
			} else {
				tried[e.ID] = e
			}
		}
	}
	t.Logf("%d kills, %d changes acknowledged between them", rounds, total)
	if total < rounds {
		t.Errorf("only %d changes in %d rounds: nothing was tested", total, rounds)
	}
}

func same(a, b entry) bool { return a.Step == b.Step && a.Saved == b.Saved }

func allIDs() (ids []string) {
	for w := range crashWorkers {
		for i := range crashIDs {
			ids = append(ids, fmt.Sprintf("w%d-%d", w, i))
		}
	}
	return ids
}

// runAndKill runs the server, kills it some time after it is ready, and returns
// what it has told until then.
func runAndKill(t *testing.T, dir string, after time.Duration) (lines []entry) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	patient := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer patient.Stop()
	var kill sync.Once
	for r := bufio.NewReader(out); ; {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) { // a line that was cut short was not told
			cmd.Wait()
			return lines
		}
		var e entry
		if err == nil {
			err = json.Unmarshal(line, &e)
		}
		if err != nil {
			t.Fatalf("reading %q: %v", line, err)
		}
		lines = append(lines, e)
		if e.Kind == "ready" {
			kill.Do(func() { time.AfterFunc(after, func() { cmd.Process.Kill() }) })
		}
	}
}
