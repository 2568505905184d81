package history_test

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/internal/race"
)

func TestBounds(t *testing.T) {
	for name, test := range map[string]struct {
		rule history.Rule
		want string
	}{
		"messages": {history.Rule{Messages: 2}, "m3 m4"},
		"bytes":    {history.Rule{Bytes: 60}, "m3 m4"},
		"age":      {history.Rule{Age: time.Second}, "m3 m4"},
		"defaults": {history.Rule{}, "m0 m1 m2 m3 m4"},
	} {
		c := newClock()
		_, sp := open(t, history.Options{Now: c.now}, test.rule)
		before := now(sp, "a")
		for i := range 5 {
			record(sp, "a", fmt.Sprint("m", i))
			c.advance(time.Second / 2)
		}
		c.advance(-time.Second / 2)
		missing := history.Expired
		if name == "defaults" {
			missing = ""
		}
		if name == "age" {
			test.want = "m2 m3 m4" // as old as the rule permits
		}
		t.Run(name, func(t *testing.T) {
			wantPage(t, sp.Since("a", before, 0), test.want, missing)
			wantPage(t, sp.Page("a", history.Ask{}), test.want, "")
			wantPage(t, sp.Since("a", now(sp, "a"), 0), "", "")
		})
	}
}

func TestAsks(t *testing.T) {
	c := newClock()
	_, sp := open(t, history.Options{Now: c.now}, history.Rule{Messages: 5})
	start := c.now()
	other := now(sp, "b") // a position of one topic, used for another
	var marks []history.Position
	for i := range 7 {
		record(sp, "a", fmt.Sprint("m", i))
		record(sp, "b", fmt.Sprint("b", i))
		marks = append(marks, now(sp, "a"))
		c.advance(time.Second)
	}
	for _, test := range []struct {
		ask     history.Ask
		want    string
		missing history.Reason
	}{
		{history.Ask{After: marks[6]}, "", ""},
		{history.Ask{After: marks[3]}, "m4 m5 m6", ""},
		{history.Ask{After: marks[1]}, "m2 m3 m4 m5 m6", ""},
		{history.Ask{After: marks[0]}, "m2 m3 m4 m5 m6", history.Expired},
		{history.Ask{After: other}, "m2 m3 m4 m5 m6", history.Expired},
		{history.Ask{After: marks[1], Limit: 2}, "m5 m6", history.Limited},
		{history.Ask{Unknown: true}, "m2 m3 m4 m5 m6", history.Unknown},
		{history.Ask{Unknown: true, Limit: 1}, "m6", history.Unknown},
		{history.Ask{Last: 2}, "m5 m6", ""},
		{history.Ask{Last: 20}, "m2 m3 m4 m5 m6", ""},
		{history.Ask{Last: -1}, "", ""},
		{history.Ask{Since: start.Add(4 * time.Second)}, "m4 m5 m6", ""},
		{history.Ask{Since: start.Add(2 * time.Second)}, "m2 m3 m4 m5 m6", ""},
		{history.Ask{Since: start.Add(time.Second)}, "m2 m3 m4 m5 m6", history.Expired},
		{history.Ask{Since: start.Add(3 * time.Second), Limit: 1}, "m6", history.Limited},
		{history.Ask{After: marks[3], PageMessages: 2}, "m4 m5", ""},
		{history.Ask{PageBytes: 1}, "m2", ""},
	} {
		p := sp.Page("a", test.ask)
		wantPage(t, p, test.want, test.missing)
		if t.Failed() {
			t.Fatalf("%+v", test.ask)
		}
	}
}

// TestPages: pages that are read one after the other have everything once, even if
// messages are recorded between them.
func TestPages(t *testing.T) {
	_, sp := open(t, history.Options{}, history.Rule{})
	fill(sp, "a", 0, 10)
	var got []string
	ask := history.Ask{Last: 8, PageMessages: 3}
	for i := 0; ; i++ {
		p := sp.Page("a", ask)
		got = append(got, texts(p.Messages))
		if !p.More {
			break
		}
		ask = history.Ask{After: p.Next, PageMessages: 3}
		record(sp, "a", fmt.Sprint("n", i))
	}
	if want := "m2 m3 m4|m5 m6 m7|m8 m9 n0|n1 n2"; strings.Join(got, "|") != want {
		t.Errorf("pages %v, want %s", got, want)
	}
}

// TestUnknown: positions of another store, and those of the future.
func TestUnknown(t *testing.T) {
	_, before := open(t, history.Options{}, history.Rule{})
	_, sp := open(t, history.Options{}, history.Rule{})
	record(sp, "a", "m0")
	wantPage(t, sp.Since("a", now(before, "a"), 0), "m0", history.Unknown)
	store, same := open(t, history.Options{Log: 7}, history.Rule{})
	_, ahead := open(t, history.Options{Log: 7}, history.Rule{})
	fill(ahead, "a", 0, 3)
	wantPage(t, same.Since("a", now(ahead, "a"), 0), "", history.Unknown)
	if store.Log() != 7 {
		t.Errorf("log %d", store.Log())
	}
}

func TestSenders(t *testing.T) {
	_, sp := open(t, history.Options{}, history.Rule{})
	for i, sender := range []uint64{1, 0, 2, 1} {
		m := history.Message{Event: "msg", Payload: fmt.Append(nil, "m", i), Sender: sender}
		sp.Record("a", &m, func(bool) {})
	}
	wantPage(t, sp.Page("a", history.Ask{Without: 1}), "m1 m2", "")
	wantPage(t, sp.Page("a", history.Ask{}), "m0 m1 m2 m3", "")
}

func TestRules(t *testing.T) {
	_, sp := open(t, history.Options{},
		history.Rule{Topics: []string{"room:1"}, Messages: 1},
		history.Rule{Topics: []string{"room:*"}, Events: []string{"msg", "sys:*"}})
	for _, test := range []struct {
		topic, event string
		want         bool
	}{{"room:1", "any", true}, {"room:2", "any", false}, {"room:2", "msg", true}, {"room:2", "sys:x", true}, {"lobby", "msg", false}} {
		if got := sp.Records(test.topic, test.event); got != test.want {
			t.Errorf("%s %s: %v", test.topic, test.event, got)
		}
	}
	fill(sp, "room:1", 0, 2)
	fill(sp, "room:2", 0, 2)
	mark := now(sp, "room:1")
	if err := sp.SetRules([]history.Rule{{Topics: []string{"room:1", "lobby"}}}); err != nil {
		t.Fatal(err)
	}
	fill(sp, "room:1", 2, 4)
	wantPage(t, sp.Page("room:1", history.Ask{}), "m1 m2 m3", "")
	wantPage(t, sp.Since("room:1", mark, 0), "m2 m3", "")
	wantPage(t, sp.Page("room:2", history.Ask{}), "", "")
	for _, wrong := range []history.Rule{{Topics: []string{"a*b"}}, {Events: []string{""}}, {Messages: -1}} {
		if err := sp.SetRules([]history.Rule{wrong}); err == nil {
			t.Errorf("%+v was accepted", wrong)
		}
	}
}

// TestSetRulesKeepsWhatWasLost: a client whose messages were dropped under the old
// rules is told under the new ones.
func TestSetRulesKeepsWhatWasLost(t *testing.T) {
	c := newClock()
	_, sp := open(t, history.Options{Now: c.now}, history.Rule{Age: time.Second})
	before := now(sp, "a")
	record(sp, "a", "m0")
	c.advance(time.Minute)
	wantPage(t, sp.Page("a", history.Ask{}), "", "")
	for range 2 {
		if err := sp.SetRules([]history.Rule{{Age: time.Hour}}); err != nil {
			t.Fatal(err)
		}
	}
	wantPage(t, sp.Since("a", before, 0), "", history.Expired)
	wantPage(t, sp.Since("a", now(sp, "a"), 0), "", "")
}

// TestRuleReturns: a client is told of messages that were dropped while no rule matched
// their topic.
func TestRuleReturns(t *testing.T) {
	c := newClock()
	_, sp := open(t, history.Options{Now: c.now}, history.Rule{})
	before := now(sp, "a")
	record(sp, "a", "m0")
	for _, topics := range [][]string{{"b"}, nil} {
		if err := sp.SetRules([]history.Rule{{Topics: topics}}); err != nil {
			t.Fatal(err)
		}
	}
	wantPage(t, sp.Since("a", before, 0), "", history.Expired)
	wantPage(t, sp.Since("a", now(sp, "a"), 0), "", "")
}

// TestGapsOfRules: a client that was on a topic while no rule had it is told so afterwards.
func TestGapsOfRules(t *testing.T) {
	rooms, halls := history.Rule{Topics: []string{"room:*"}}, history.Rule{Topics: []string{"hall:*"}}
	for name, without := range map[string][]history.Rule{"other topics": {halls}, "none": nil} {
		t.Run(name, func(t *testing.T) {
			_, sp := open(t, history.Options{}, rooms, halls)
			set := func(rules ...history.Rule) {
				t.Helper()
				if err := sp.SetRules(rules); err != nil {
					t.Fatal(err)
				}
			}
			record(sp, "room:1", "m0")
			before := now(sp, "room:1")
			set(halls, rooms, history.Rule{Topics: []string{"hall:*", "room:*"}})
			wantPage(t, sp.Since("room:1", before, 0), "", "") // the topic was recorded all the time
			wantPage(t, sp.Since("room:2", before, 0), "", "")
			set(without...)
			record(sp, "room:1", "m1")
			set(rooms, halls)
			began := now(sp, "room:1")
			record(sp, "room:1", "m2")
			wantPage(t, sp.Since("room:1", before, 0), "m2", history.Expired)
			wantPage(t, sp.Since("room:2", before, 0), "", history.Expired)
			wantPage(t, sp.Since("room:1", began, 0), "m2", "")
			wantPage(t, sp.Since("room:2", began, 0), "", "")
		})
	}
}

func TestErase(t *testing.T) {
	store, sp := open(t, history.Options{}, history.Rule{Messages: 4})
	before := now(sp, "a")
	var ids []history.ID
	for i := range 4 {
		m := record(sp, "a", fmt.Sprint("m", i))
		ids = append(ids, m.ID())
	}
	shared := sp.Page("a", history.Ask{}).Messages
	parsed, err := history.ParseID(ids[1].String())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{true, false} {
		if found, err := sp.Erase("a", parsed); found != want || err != nil {
			t.Fatalf("erasing %v as %v: %v %v", ids[1], parsed, found, err)
		}
	}
	if texts(shared) != "m0 m1 m2 m3" {
		t.Errorf("what was read before has become %s", texts(shared))
	}
	wantPage(t, sp.Since("a", before, 0), "m0 m2 m3", "")
	time.Sleep(2 * time.Millisecond)
	mid := time.Now()
	time.Sleep(2 * time.Millisecond)
	record(sp, "a", "m4")
	if n, err := sp.TrimBefore("a", mid); n != 3 || err != nil {
		t.Errorf("%d trimmed", n)
	}
	wantPage(t, sp.Since("a", before, 0), "m4", "")
	if n, err := sp.Delete("a"); n != 1 || err != nil {
		t.Errorf("%d deleted", n)
	}
	wantPage(t, sp.Since("a", before, 0), "", "")
	if st := store.Stats(); st.Messages != 0 || st.Recorded != 5 {
		t.Errorf("%+v", st)
	}
	for _, wrong := range []string{"", "x", "0-1", "0000000000000001-x", "000000000000000g-1"} {
		if _, err := history.ParseID(wrong); err == nil {
			t.Errorf("%q was taken", wrong)
		}
	}
}

// TestMemory: however much is recorded, on however many topics, the store keeps to
// its memory, drops the oldest first, and tells who missed something.
func TestMemory(t *testing.T) {
	const memory = 1 << 20
	c := newClock()
	store, sp := open(t, history.Options{Memory: memory, Now: c.now}, history.Rule{})
	before := now(sp, "topic 0")
	payload := strings.Repeat("x", 500)
	for i := range 20_000 {
		c.advance(time.Millisecond)
		record(sp, fmt.Sprintf("topic %d", i/4), payload)
		if n := store.Stats().Bytes; n > memory {
			t.Fatalf("%d bytes after %d messages", n, i)
		}
	}
	st := store.Stats()
	if st.Bytes < memory*9/10 || st.Messages < 1000 || st.Evicted == 0 || st.Evicted+uint64(st.Messages) != st.Recorded {
		t.Errorf("%+v", st)
	}
	wantPage(t, sp.Since("topic 0", before, 0), "", history.Expired)
	if n := len(sp.Last("topic 4999", 10)); n != 4 {
		t.Errorf("%d messages of the last topic are left", n)
	}
	sp.Clear()
	if st := store.Stats(); st.Bytes != 0 || st.Messages != 0 || st.Topics != 0 {
		t.Errorf("after Clear: %+v", st)
	}
}

// TestSweep: messages that nobody asks for are dropped too, and their topics, and an
// empty store has no timer.
func TestSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, sp := open(t, history.Options{}, history.Rule{Age: time.Minute})
		before := now(sp, "a")
		fill(sp, "a", 0, 3)
		time.Sleep(30 * time.Second)
		fill(sp, "b", 0, 3)
		time.Sleep(40 * time.Second)
		if st := store.Stats(); st.Topics != 1 || st.Messages != 3 || st.Expired != 3 {
			t.Errorf("after 70 s: %+v", st)
		}
		time.Sleep(time.Minute)
		if st := store.Stats(); st.Topics != 0 || st.Messages != 0 || st.Bytes != 0 {
			t.Errorf("after 130 s: %+v", st)
		}
		wantPage(t, sp.Since("a", before, 0), "", history.Expired)
	})
}

// TestMarks: the clients of a topic are sent its position with the first message,
// and then at most every two seconds.
func TestMarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, sp := open(t, history.Options{}, history.Rule{Age: time.Hour})
		var sent []string
		begun := time.Now()
		sp.Attach(&listener{mark: func(topic string, _ history.Position) {
			sent = append(sent, fmt.Sprintf("%s %v", topic, time.Since(begun)))
		}})
		record(sp, "a", "nobody asks")
		sp.Follow(1)
		for range 33 {
			record(sp, "a", "m")
			time.Sleep(90 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		record(sp, "b", "m")
		time.Sleep(time.Minute)
		if got, want := fmt.Sprint(sent), "[a 0s a 2.09s a 4.16s b 1m2.97s]"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}

// TestMemoryOfAMessage measures what a message takes besides its payload and event.
func TestMemoryOfAMessage(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector changes what is allocated")
	}
	for _, size := range []int{10, 100, 300, 1100, 1300, 2100, 3000, 5000, 9000, 20_000, 33_000} {
		const messages = 250 // of each topic, of which 100 are kept
		topics := min(200, max(20, 200_000/size))
		payload := bytes.Repeat([]byte("x"), size)
		heap := func() int64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.GC()
			runtime.ReadMemStats(&m)
			return int64(m.HeapAlloc)
		}
		before := heap()
		store, sp := open(t, history.Options{Memory: 1 << 30}, history.Rule{Bytes: 1 << 30})
		for i := range topics * messages {
			sp.Record(fmt.Sprint("topic ", i%topics), &history.Message{Event: "msg", Payload: payload}, func(bool) {})
		}
		used := heap() - before
		beside := float64(used)/float64(topics*100) - float64(size+len("msg"))
		most := 100.0
		if size > 8<<10 {
			most += float64(size) / 150 // the allocator's size classes
		}
		counted := float64(store.Stats().Bytes) / float64(used)
		t.Logf("payloads of %d bytes: %.0f bytes beside them, %.2f of what is used is counted", size, beside, counted)
		if beside > most || counted < 0.75 || counted > 1.2 {
			t.Errorf("payloads of %d bytes: %.0f bytes beside them, %.2f of what is used is counted", size, beside, counted)
		}
		runtime.KeepAlive(store)
	}
}

func TestRecordAllocatesNothing(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	_, sp := open(t, history.Options{}, history.Rule{Bytes: 10 << 20, Messages: 10_000})
	payload := bytes.Repeat([]byte("x"), 100)
	for range 20_000 {
		sp.Record("a", &history.Message{Event: "msg", Payload: payload}, func(bool) {})
	}
	if n := testing.AllocsPerRun(10_000, func() {
		sp.Record("a", &history.Message{Event: "msg", Payload: payload}, func(bool) {})
	}); n > 0.1 {
		t.Errorf("%v allocations a message", n)
	}
}

func BenchmarkRecord(b *testing.B) {
	_, sp := open(b, history.Options{}, history.Rule{})
	payload := bytes.Repeat([]byte("x"), 300)
	b.ReportAllocs()
	for b.Loop() {
		sp.Record("room:42", &history.Message{Event: "msg", Payload: payload}, func(bool) {})
	}
}

func BenchmarkRead100(b *testing.B) {
	_, sp := open(b, history.Options{}, history.Rule{})
	start := now(sp, "room:42")
	for range 100 {
		sp.Record("room:42", &history.Message{Event: "msg", Payload: make([]byte, 300)}, func(bool) {})
	}
	b.ReportAllocs()
	for b.Loop() {
		if n := len(sp.Since("room:42", start, 0).Messages); n != 100 {
			b.Fatal(n)
		}
	}
}
