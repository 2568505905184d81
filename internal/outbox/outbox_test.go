package outbox_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mycelium-rt/mycelium/internal/leaktest"
	"github.com/mycelium-rt/mycelium/internal/outbox"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func open(t testing.TB, o outbox.Options) *outbox.Log {
	t.Helper()
	l, err := outbox.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// record returns a record whose fields follow from its number.
func record(seq uint64) *outbox.Record {
	return &outbox.Record{
		Time: int64(seq) * 3, Kind: uint8(seq), Who: seq << 40, Topic: fmt.Sprint("room:", seq),
		Body: []byte(strings.Repeat(fmt.Sprint(seq), int(seq%97))),
	}
}

func check(t testing.TB, r outbox.Record) {
	t.Helper()
	want := record(r.Seq)
	if r.Time != want.Time || r.Kind != want.Kind || r.Who != want.Who || r.Topic != want.Topic || !bytes.Equal(r.Body, want.Body) {
		t.Fatalf("record %d is %+v, want %+v", r.Seq, r, want)
	}
}

func appendAll(t testing.TB, l *outbox.Log, from, to uint64) {
	t.Helper()
	for seq := from; seq <= to; seq++ {
		if err := l.Append(record(seq)); err != nil {
			t.Fatal(err)
		}
	}
}

// readAll reads to the end and returns the first and last number, and how many records
// were lost.
func readAll(t testing.TB, r *outbox.Reader) (first, last, lost uint64) {
	t.Helper()
	for {
		records, n, err := r.Read()
		if err != nil {
			t.Fatal(err)
		}
		lost += n
		if len(records) == 0 {
			return first, last, lost
		}
		for _, rec := range records {
			check(t, rec)
			if first == 0 {
				first = rec.Seq
			} else if rec.Seq != last+1 {
				t.Fatalf("%d follows %d", rec.Seq, last)
			}
			last = rec.Seq
		}
	}
}

func TestLog(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		l := open(t, outbox.Options{Dir: dir, Segment: 1000})
		appendAll(t, l, 1, 500)
		if err := l.Append(record(501), record(502)); err != nil {
			t.Fatal(err)
		}
		if first, last, lost := readAll(t, l.NewReader(0)); first != 1 || last != 502 || lost != 0 {
			t.Errorf("in %q: %d to %d, %d lost", dir, first, last, lost)
		}
		if first, last, _ := readAll(t, l.NewReader(77)); first != 77 || last != 502 {
			t.Errorf("from 77: %d to %d", first, last)
		}
		size := l.Size()
		if err := l.Trim(300, 0); err != nil {
			t.Fatal(err)
		}
		oldest := l.Oldest()
		if oldest > 300 || oldest < 250 || l.Size() >= size {
			t.Errorf("after Trim the oldest is %d, of %d bytes %d are left", oldest, size, l.Size())
		}
		if first, last, lost := readAll(t, l.NewReader(10)); first != oldest || last != 502 || lost != oldest-10 {
			t.Errorf("from 10: %d to %d, %d lost", first, last, lost)
		}
		if _, _, lost := readAll(t, l.NewReader(0)); lost != 0 {
			t.Errorf("from the oldest: %d lost", lost)
		}
		before := l.Size()
		if err := l.Trim(502, before-2000); err != nil || l.Size() < before-2000 || l.Oldest() == oldest {
			t.Errorf("Trim of %d bytes to %d with 2000 fewer: %v", before, l.Size(), err)
		}
	}
}

// A waiting reader is woken, and reads on while segments are added and removed.
func TestReaders(t *testing.T) {
	l := open(t, outbox.Options{Dir: t.TempDir(), Segment: 2000})
	const records = 3000
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			r := l.NewReader(0)
			for last := uint64(0); last < records; {
				<-l.Appended(r.Next())
				_, to, lost := readAll(t, r)
				if lost != 0 {
					t.Errorf("%d lost", lost)
				}
				last = max(last, to)
			}
		})
	}
	appendAll(t, l, 1, records)
	all.Wait()
	r := l.NewReader(1)
	if err := l.Trim(records, 0); err != nil {
		t.Fatal(err)
	}
	if first, last, lost := readAll(t, r); last != records || lost != first-1 {
		t.Errorf("%d to %d, %d lost", first, last, lost)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Read(); !errors.Is(err, outbox.ErrClosed) {
		t.Errorf("a closed log: %v", err)
	}
	if err := l.Append(record(1)); !errors.Is(err, outbox.ErrClosed) {
		t.Errorf("a closed log: %v", err)
	}
	<-l.Appended(1 << 60)
}

// TestTorn cuts or damages the last segment at random places: everything before that
// stays, and the log goes on with the number that follows.
func TestTorn(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		dir := t.TempDir()
		l := open(t, outbox.Options{Dir: dir, Segment: 3000})
		appendAll(t, l, 1, 100)
		l.Close()
		names, _ := filepath.Glob(filepath.Join(dir, "*.log"))
		slices.Sort(names)
		name := names[len(names)-1]
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		at := random.IntN(len(text))
		if random.IntN(2) == 0 {
			text = text[:at]
		} else {
			text[at] ^= 0x10
		}
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		l = open(t, outbox.Options{Dir: dir, Segment: 3000})
		next := l.Next()
		appendAll(t, l, next, 150)
		if first, last, lost := readAll(t, l.NewReader(1)); first != 1 || last != 150 || lost != 0 || next > 101 {
			t.Fatalf("damage at %d: %d to %d, next was %d, %d lost", at, first, last, next, lost)
		}
		l.Close()
	}
}

// Records lost in a damaged segment are counted, and those of later segments are read.
func TestHole(t *testing.T) {
	dir := t.TempDir()
	l := open(t, outbox.Options{Dir: dir, Segment: 3000})
	appendAll(t, l, 1, 100)
	l.Close()
	names, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	slices.Sort(names)
	if err := os.Truncate(names[0], 200); err != nil {
		t.Fatal(err)
	}
	l = open(t, outbox.Options{Dir: dir, Segment: 3000})
	r := l.NewReader(0)
	count, lost := uint64(0), uint64(0)
	for {
		records, n, err := r.Read()
		if err != nil {
			t.Fatal(err)
		}
		if lost += n; len(records) == 0 {
			break
		}
		for _, rec := range records {
			check(t, rec)
			count++
		}
	}
	if lost == 0 || count+lost != 100 {
		t.Errorf("%d read and %d lost of 100", count, lost)
	}
}

func TestLargeRecords(t *testing.T) {
	l := open(t, outbox.Options{Dir: t.TempDir()})
	for _, size := range []int{1, 3 << 20, 5, 300 << 10} {
		if err := l.Append(&outbox.Record{Body: bytes.Repeat([]byte{7}, size)}); err != nil {
			t.Fatal(err)
		}
	}
	r := l.NewReader(0)
	var sizes []int
	for {
		records, _, err := r.Read()
		if err != nil {
			t.Fatal(err)
		}
		if len(records) == 0 {
			break
		}
		for _, rec := range records {
			sizes = append(sizes, len(rec.Body))
		}
	}
	if want := []int{1, 3 << 20, 5, 300 << 10}; !slices.Equal(sizes, want) {
		t.Errorf("bodies of %d bytes, want %d", sizes, want)
	}
	if err := l.Append(&outbox.Record{Topic: strings.Repeat("x", outbox.MaxTopic+1)}); err == nil {
		t.Error("a topic that is too long was taken")
	}
}

func TestCursor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c")
	c, err := outbox.OpenCursor(path, 5)
	if err != nil || c.Seq() != 5 {
		t.Fatalf("%v %v", c, err)
	}
	for _, seq := range []uint64{7, 9, 8} {
		if err := c.Set(seq); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	reopen := func() uint64 {
		c, err := outbox.OpenCursor(path, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.Seq()
	}
	if got := reopen(); got != 8 {
		t.Errorf("the cursor is at %d, want 8", got)
	}
	text, _ := os.ReadFile(path)
	text[25] ^= 1 // the slot of the last Set
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := reopen(); got != 9 {
		t.Errorf("with a damaged slot: %d, want the one before, 9", got)
	}
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := reopen(); got != 1 {
		t.Errorf("damaged: %d, want the start", got)
	}
}

func BenchmarkAppend(b *testing.B) {
	l := open(b, outbox.Options{Dir: b.TempDir()})
	r := outbox.Record{Topic: "room:lobby", Body: bytes.Repeat([]byte("x"), 200)}
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Append(&r); err != nil {
			b.Fatal(err)
		}
		if l.Size() > 64<<20 {
			l.Trim(l.Next(), 0)
		}
	}
}

func TestSnapshot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if _, err := outbox.ReadSnapshot(path, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a snapshot: %v", err)
	}
	for _, n := range []uint64{100, 0} {
		size, err := outbox.WriteSnapshot(path, 77, func(yield func(outbox.Record) bool) {
			for i := range n {
				if !yield(*record(i)) {
					return
				}
			}
		})
		if info, statErr := os.Stat(path); err != nil || statErr != nil || info.Size() != size {
			t.Fatalf("%d bytes, %v, %v", size, err, statErr)
		}
		next := uint64(0)
		seq, err := outbox.ReadSnapshot(path, func(r outbox.Record) {
			r.Seq = next
			check(t, r)
			next++
		})
		if err != nil || seq != 77 || next != n {
			t.Errorf("%d records, number %d, %v", next, seq, err)
		}
	}
	if err := os.Truncate(path, 20); err != nil {
		t.Fatal(err)
	}
	if _, err := outbox.ReadSnapshot(path, func(outbox.Record) {}); err == nil {
		t.Error("a part of a snapshot was taken for all")
	}
}
