package logging

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/internal/logging/logtest"
)

// summaries returns the number of lines and, by kind, of those that are said to
// have been left out.
func summaries(t *testing.T, text string) (lines int, left map[string]int) {
	t.Helper()
	left = map[string]int{}
	for line := range strings.Lines(text) {
		var s struct {
			Message, Kind string
			Lines         int
		}
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		lines++
		if s.Message == leftOut {
			left[s.Kind] += s.Lines
		}
	}
	return lines, left
}

// TestLinesAreLimited: ten of a kind in a second, and one that says how many more.
func TestLinesAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := new(logtest.Buffer)
		logger := zerolog.New(out)
		log := NewLog(&logger)
		for range 1000 {
			log.Warn("a").Write()
		}
		for range 3 {
			log.Error("b").Write()
		}
		for range 100 {
			log.Info("what an operator has done").Write()
		}
		for range 1500 {
			log.Debug("c").Write()
		}
		log.Error("c").Write() // the share of errors is not used up by that
		if lines, left := summaries(t, out.String()); lines != maxLines+3+100+maxDebugLines+1 || len(left) > 0 {
			t.Errorf("%d lines at once, %v left out", lines, left)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if _, left := summaries(t, out.String()); fmt.Sprint(left) != "map[a:990 c:500]" {
			t.Errorf("%v left out", left)
		}
		if !strings.Contains(out.String(), `{"level":"warn","kind":"a","lines":990,`) {
			t.Errorf("the summary has not the level of its lines: %.200s", out)
		}
		before := len(out.String())
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(out.String()) != before {
			t.Error("a summary of nothing")
		}
		for range 12 {
			log.Warn("a").Write()
		}
		log.Flush()
		if _, left := summaries(t, out.String()[before:]); left["a"] != 2 {
			t.Errorf("%v left out, by Flush", left)
		}
		time.Sleep(time.Minute)
		if _, left := summaries(t, out.String()[before:]); left["a"] != 2 {
			t.Errorf("%v left out, after Flush", left)
		}
	})
}

// TestServerLimit: loggers that are derived of one share its bounds, and what has
// been left out by a Log before is not counted again.
func TestServerLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := new(logtest.Buffer)
		server := Limit(zerolog.New(out))
		for i := range 20 {
			derived := server.With().Int("instance", i).Logger()
			log := NewLog(&derived)
			for range 100 {
				log.Error("a").Write()
			}
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		_, left := summaries(t, out.String())
		if n := strings.Count(out.String(), `"message":"a"`); n != maxServerLines {
			t.Errorf("%d lines", n)
		}
		// 20 summaries of 90 each by the Logs, and 150 left out by the server.
		if left["a"] != 20*90+150 {
			t.Errorf("%v left out", left)
		}
	})
}

// TestManyKinds: a message that is no constant does not use up the memory.
func TestManyKinds(t *testing.T) {
	logger := zerolog.New(new(logtest.Buffer))
	log := NewLog(&logger)
	for i := range 10 * maxKinds {
		log.Warn(fmt.Sprint(i)).Write()
	}
	if n := len(log.limiter.kinds); n > maxKinds {
		t.Errorf("%d kinds are remembered", n)
	}
}

// nilError panics when it is asked for its text.
type nilError struct{ text string }

func (e *nilError) Error() string { return e.text }

// TestFieldsAreCut: each as its kind is.
func TestFieldsAreCut(t *testing.T) {
	out := new(logtest.Buffer)
	logger := zerolog.New(out)
	long := strings.Repeat("ü", 100_000)
	NewLog(&logger).Error("a").Str("origin", long).Err(errors.New(long)).Panic(long, []byte(long)).Write()
	NewLog(&logger).Error("b").Err((*nilError)(nil)).Err(nil).Write()
	var fields struct{ Origin, Error, Panic, Stack string }
	if err := json.NewDecoder(strings.NewReader(out.String())).Decode(&fields); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, text string
		most       int
	}{{"origin", fields.Origin, maxField}, {"error", fields.Error, maxError}, {"panic", fields.Panic, maxError}, {"stack", fields.Stack, maxStack}} {
		if len(c.text) != c.most+len(hidden) || !strings.HasSuffix(c.text, "ü"+hidden) {
			t.Errorf("%s: %d bytes, %.20s", c.name, len(c.text), c.text)
		}
	}
	if !strings.Contains(out.String(), `"error":"\u003cnil\u003e"`) && !strings.Contains(out.String(), `"error":"<nil>"`) {
		t.Errorf("a nil pointer as an error: %s", out)
	}
}

// TestServerCutsAll: also what no Line was used for.
func TestServerCutsAll(t *testing.T) {
	var out bytes.Buffer
	log := logTo(t, &out, "debug", "json", false)
	long := strings.Repeat("x", 100_000)
	log.Warn().Str("a", long).Strs("problems", []string{long}).Interface("m", map[string]string{long: long}).Err(errors.New(long)).Msg(long)
	if out.Len() > 3*maxStack+4*maxValue {
		t.Errorf("%d bytes", out.Len())
	}
	checkLines(t, out.String(), true)
}

// TestOffCostsNothing: lines that are not written need no memory.
func TestOffCostsNothing(t *testing.T) {
	logger := zerolog.New(new(logtest.Buffer)).Level(zerolog.WarnLevel)
	log := NewLog(&logger)
	for range maxLines {
		log.Warn("limited").Write()
	}
	n := testing.AllocsPerRun(100, func() {
		log.Debug("off").Str("a", "b").Err(errSlowOutput).Int("c", 1).Took(time.Time{}).Write()
		log.Warn("limited").Str("a", "b").Err(errSlowOutput).Panic("x", nil).Write()
	})
	if n > 0 {
		t.Errorf("%v allocations", n)
	}
	log.Flush()
}

type broken struct{}

func (broken) Write([]byte) (int, error) { panic("a logger that panics") }

// TestBrokenLogger: an application's logger that panics does not end an event loop.
func TestBrokenLogger(*testing.T) {
	logger := zerolog.New(broken{})
	log := NewLog(&logger)
	for range 2 * maxLines {
		log.Error("a").Write()
	}
	log.Flush()
}

// TestWithoutALogger: errors go to standard error, and nothing else.
func TestWithoutALogger(t *testing.T) {
	if log := OrStderr(nil); log.GetLevel() != zerolog.ErrorLevel {
		t.Errorf("level %v", log.GetLevel())
	}
	nop := zerolog.Nop()
	if NewLog(&nop).Error("discarded").On() {
		t.Error("zerolog.Nop does not discard")
	}
}
