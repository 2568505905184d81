package logging

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// output is a log's output that can be made to block or fail.
type output struct {
	mu    sync.Mutex
	text  bytes.Buffer
	room  int   // bytes that it takes before it fails; -1: any
	err   error // what it fails with then
	block chan struct{}
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	block := o.block
	o.mu.Unlock()
	if block != nil {
		<-block
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.room >= 0 && len(p) > o.room {
		n, _ := o.text.Write(p[:o.room])
		o.room = 0
		return n, o.err
	}
	return o.text.Write(p)
}

// fill has the output take n bytes more, and then fail; -1: as many as come.
func (o *output) fill(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.room, o.err = n, errors.New("no space left on device")
}

func (o *output) lines() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Split(strings.TrimSuffix(o.text.String(), "\n"), "\n")
}

// dropReport is what the log says of lines that were dropped.
type dropReport struct {
	Level, Error, Message string
	Lines                 int64
}

func reportIn(t *testing.T, line string) (r dropReport) {
	t.Helper()
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	if r.Level != "warn" || r.Message != "lines of the log were dropped" {
		t.Errorf("not the report of dropped lines: %q", line)
	}
	return r
}

// TestBlockedOutput: what logs never waits; what is too much is dropped, counted,
// and reported by one line when the output takes lines again.
func TestBlockedOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &output{room: -1, block: make(chan struct{})}
		w := NewWriter(out)
		log, err := w.Logger(new(Level), "json", false)
		if err != nil {
			t.Fatal(err)
		}
		const lines = 20_000
		long := strings.Repeat("x", 100)
		for i := range lines {
			log.Info().Int("i", i).Str("a", long).Msg("line")
		}
		if w.Flush(time.Second) {
			t.Error("flushed into a blocked output")
		}
		dropped := w.Dropped()
		if dropped < lines/4 || dropped >= lines {
			t.Fatalf("%d of %d lines dropped", dropped, lines)
		}
		close(out.block)
		if !w.Flush(time.Minute) {
			t.Fatal("not flushed")
		}
		got := out.lines()
		report := reportIn(t, got[len(got)-1])
		if report.Lines != dropped || report.Error != errSlowOutput.Error() {
			t.Errorf("reported %+v, %d were dropped", report, dropped)
		}
		if len(got) != lines-int(dropped)+1 {
			t.Errorf("%d lines written, %d were not dropped", len(got), lines-dropped)
		}
		for i, line := range got[:len(got)-1] {
			var l struct{ I int }
			if err := json.Unmarshal([]byte(line), &l); err != nil || l.I != i {
				t.Fatalf("line %d: %q", i, line)
			}
		}
		log.Info().Msg("after")
		w.Flush(time.Minute)
		if w.Dropped() != dropped || len(out.lines()) != len(got)+1 {
			t.Error("more was dropped, or reported again")
		}
	})
}

// TestFailingOutput: a full disk costs lines and is not asked without pause; a
// line that was cut off by it does not spoil the next one.
func TestFailingOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := new(output)
		w := NewWriter(out)
		log, err := w.Logger(new(Level), "json", false)
		if err != nil {
			t.Fatal(err)
		}
		out.fill(10)
		start := time.Now()
		for range 5 {
			log.Info().Msg("lost")
			w.Flush(time.Minute)
		}
		if took := time.Since(start); took < 5*retryAfter {
			t.Errorf("a full disk was asked 5 times in %v", took)
		}
		out.fill(-1)
		log.Info().Msg("written")
		w.Flush(time.Minute)
		got := out.lines()
		if len(got) != 3 || len(got[0]) != 10 || !strings.Contains(got[1], "written") {
			t.Fatalf("%q", got)
		}
		if r := reportIn(t, got[2]); r.Lines != 5 || r.Error != "no space left on device" || w.Dropped() != 5 {
			t.Errorf("%+v; %d dropped", r, w.Dropped())
		}
	})
}

// TestSlowOutput: while lines are dropped all the time, that is said once a second.
func TestSlowOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := new(slowOutput)
		w := NewWriter(slow)
		log, err := w.Logger(new(Level), "json", false)
		if err != nil {
			t.Fatal(err)
		}
		long := strings.Repeat("x", 400)
		for range 5 * 20 { // five seconds of 4,000 lines a second
			for range 200 {
				log.Info().Str("a", long).Msg("line")
			}
			time.Sleep(50 * time.Millisecond)
		}
		w.Flush(time.Hour)
		var reported int64
		reports := 0
		for line := range strings.Lines(slow.text.String()) {
			if strings.Contains(line, "were dropped") {
				reported += reportIn(t, line).Lines
				reports++
			}
		}
		if reported != w.Dropped() || reported == 0 || reports > 10 {
			t.Errorf("%d dropped, %d reported in %d lines", w.Dropped(), reported, reports)
		}
	})
}

// slowOutput takes a batch in 100 ms.
type slowOutput struct{ text bytes.Buffer }

func (o *slowOutput) Write(p []byte) (int, error) {
	time.Sleep(100 * time.Millisecond)
	return o.text.Write(p)
}

// TestManyWriters: lines of many goroutines stay whole, and none is lost.
func TestManyWriters(t *testing.T) {
	out := &output{room: -1}
	w := NewWriter(out)
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 500 {
				fmt.Fprintf(w, "line %d %d\n", g, i)
			}
		})
	}
	all.Wait()
	if !w.Flush(time.Minute) {
		t.Fatal("not flushed")
	}
	next := make([]int, 8)
	for _, line := range out.lines() {
		var g, i int
		if _, err := fmt.Sscanf(line, "line %d %d", &g, &i); err != nil || i != next[g] {
			t.Fatalf("%q, want line %d of it: %v", line, next[g], err)
		}
		next[g]++
	}
	if w.Dropped() > 0 || fmt.Sprint(next) != "[500 500 500 500 500 500 500 500]" {
		t.Errorf("%d dropped, %d written", w.Dropped(), next)
	}
}
