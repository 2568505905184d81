package presence

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
)

// TestAsPhoenix is the recorded behaviour of Phoenix, with this tracker's own refs.
func TestAsPhoenix(t *testing.T) {
	n := newNode()
	tr := newTracker(t, n, Options{})
	ann := n.join("room:1")
	r1 := track(t, tr, ann, "ann", json.RawMessage(`{"st":"away"}`))
	if err := tr.PushState(ann); err != nil {
		t.Fatal(err)
	}
	m1 := fmt.Sprintf(`{"phx_ref":%q,"st":"away"}`, r1)
	joined := fmt.Sprintf(`{"joins":{"ann":{"metas":[%s]}},"leaves":{}}`, m1)
	if got, want := ann.take(), []event{{EventDiff, joined}, {EventState, fmt.Sprintf(`{"ann":{"metas":[%s]}}`, m1)}}; !slices.Equal(got, want) {
		t.Fatalf("joiner got %q, want %q", got, want)
	}
	wantDiffs(t, n, joined)

	// An update: the new meta joins, the old one leaves, prev names it.
	r2 := update(t, tr, ann, "ann", json.RawMessage(`{"st":"back"}`))
	m2 := fmt.Sprintf(`{"phx_ref":%q,"phx_ref_prev":%q,"st":"back"}`, r2, r1)
	wantDiffs(t, n, fmt.Sprintf(`{"joins":{"ann":{"metas":[%s]}},"leaves":{"ann":{"metas":[%s]}}}`, m2, m1))

	// The same meta again is an update too.
	r3 := update(t, tr, ann, "ann", json.RawMessage(`{"st":"back"}`))
	m3 := fmt.Sprintf(`{"phx_ref":%q,"phx_ref_prev":%q,"st":"back"}`, r3, r2)
	wantDiffs(t, n, fmt.Sprintf(`{"joins":{"ann":{"metas":[%s]}},"leaves":{"ann":{"metas":[%s]}}}`, m3, m2))

	// A second tab: its diff lists only its own meta, the state both.
	tab := n.join("room:1")
	r4 := track(t, tr, tab, "ann", struct{}{})
	m4 := fmt.Sprintf(`{"phx_ref":%q}`, r4)
	wantDiffs(t, n, fmt.Sprintf(`{"joins":{"ann":{"metas":[%s]}},"leaves":{}}`, m4))
	if got, want := string(tr.AppendList(nil, "room:1")), fmt.Sprintf(`{"ann":{"metas":[%s,%s]}}`, m3, m4); got != want {
		t.Fatalf("list %s, want %s", got, want)
	}
	if err := tr.PushState(tab); err != nil {
		t.Fatal(err)
	}

	// A channel that ends takes only its own along.
	tab.end()
	wantDiffs(t, n, fmt.Sprintf(`{"joins":{},"leaves":{"ann":{"metas":[%s]}}}`, m4))
	tr.Untrack(ann, "ann")
	wantDiffs(t, n, fmt.Sprintf(`{"joins":{},"leaves":{"ann":{"metas":[%s]}}}`, m3))
	tr.Untrack(ann, "ann")
	wantDiffs(t, n)
	ann.end()
	wantDiffs(t, n)
	checkEmpty(t, tr)
}

func TestEmptyTopic(t *testing.T) {
	n := newNode()
	tr := newTracker(t, n, Options{})
	c := n.join("room:1")
	if err := tr.PushState(c); err != nil {
		t.Fatal(err)
	}
	if got, want := c.take(), []event{{EventState, "{}"}}; !slices.Equal(got, want) {
		t.Errorf("state %q", got)
	}
	if got := string(tr.AppendList([]byte("x"), "room:1")); got != "x{}" {
		t.Errorf("list %s", got)
	}
	if l := tr.List("room:1"); l == nil || len(l) != 0 || tr.Get("room:1", "ann") != nil || tr.Count("room:1") != 0 {
		t.Errorf("list %v, get %v, count %d", l, tr.Get("room:1", "ann"), tr.Count("room:1"))
	}
	tr.UntrackAll(c)
	checkEmpty(t, tr)
}

func TestErrors(t *testing.T) {
	n := newNode()
	tr := newTracker(t, n, Options{})
	c, other := n.join("room:1"), n.join("room:1")
	track(t, tr, c, "ann", struct{}{})
	n.takeDiffs()
	call := func(f func(Channel, string, any) (string, error), key string, meta any) error {
		ref, err := f(c, key, meta)
		if err != nil && ref != "" {
			t.Errorf("a ref beside %v", err)
		}
		return err
	}
	for _, test := range []struct {
		err, want error
	}{
		{call(tr.Track, "ann", struct{}{}), ErrAlreadyTracked},
		{call(tr.Update, "bob", struct{}{}), ErrNotTracked},
		{call(tr.Track, "\xff", struct{}{}), ErrKeyNotText},
		{call(tr.Track, "bob", nil), ErrMetaNotObject},
		{call(tr.Track, "bob", "text"), ErrMetaNotObject},
		{call(tr.Track, "bob", []int{1}), ErrMetaNotObject},
		{call(tr.Update, "ann", 1), ErrMetaNotObject},
		{call(tr.Track, "bob", json.RawMessage(` [ {} ] `)), ErrMetaNotObject},
	} {
		if !errors.Is(test.err, test.want) {
			t.Errorf("error %v, want %v", test.err, test.want)
		}
	}
	for _, meta := range []any{
		json.RawMessage(nil), json.RawMessage(`{`), json.RawMessage(`{} {}`), json.RawMessage(`{"a":"\ud800"}`),
		json.RawMessage("{\"a\":\"\xff\"}"), func() {}, make(chan int),
	} {
		if err := call(tr.Track, "bob", meta); err == nil {
			t.Errorf("meta %v taken", meta)
		}
	}
	if _, err := tr.UpdateFunc(other, "ann", func(json.RawMessage) any { t.Error("called"); return nil }); !errors.Is(err, ErrNotTracked) {
		t.Errorf("update of another channel's: %v", err)
	}
	wantDiffs(t, n)
}

// TestMetaJSON: what comes out is compact, has one phx_ref, the tracker's, and is else what was given.
func TestMetaJSON(t *testing.T) {
	n := newNode()
	tr := newTracker(t, n, Options{})
	for i, test := range []struct {
		meta any
		want string // behind phx_ref
	}{
		{json.RawMessage(`{}`), ``},
		{json.RawMessage(" {\n} "), ``},
		{json.RawMessage(`{ "a" : [ 1 , {"b":2} ] , "c":"x, y:{" }`), `,"a":[1,{"b":2}],"c":"x, y:{"`},
		{json.RawMessage(`{"phx_ref":"mine","a":2}`), `,"a":2`},
		{json.RawMessage(`{"a":2,"phx_ref":{"x":[1,2]}}`), `,"a":2`},
		{json.RawMessage(`{"a":1,"phx_ref":null,"b":2,"phx_ref_prev":"x","c":3}`), `,"a":1,"b":2,"c":3`},
		{json.RawMessage(`{"phx_ref":"x"}`), ``},
		{json.RawMessage(`{"phx\u005fref":"x","\"":"\\","é":"\""}`), `,"\"":"\\","é":"\""`},
		{json.RawMessage(`{"in":{"phx_ref":"stays"},"phx_ref2":1,"v":"phx_ref"}`), `,"in":{"phx_ref":"stays"},"phx_ref2":1,"v":"phx_ref"`},
		{json.RawMessage(`{"n":12345678901234567890123}`), `,"n":12345678901234567890123`},
		{map[string]any{"html": "<a&b>"}, `,"html":"<a&b>"`},
		{struct {
			Online int `json:"online_at"`
		}{7}, `,"online_at":7`},
	} {
		c := n.join("room:1")
		key := fmt.Sprint(i)
		ref := track(t, tr, c, key, test.meta)
		got := tr.Get("room:1", key)
		want := fmt.Sprintf(`{"phx_ref":%q%s}`, ref, test.want)
		if len(got) != 1 || string(got[0].JSON) != want || got[0].Ref != ref || got[0].PrevRef != "" {
			t.Errorf("%v gives %+v, want %s", test.meta, got, want)
		}
		next := update(t, tr, c, key, test.meta)
		got = tr.Get("room:1", key)
		want = fmt.Sprintf(`{"phx_ref":%q,"phx_ref_prev":%q%s}`, next, ref, test.want)
		if len(got) != 1 || string(got[0].JSON) != want || got[0].Ref != next || got[0].PrevRef != ref {
			t.Errorf("%v updates to %+v, want %s", test.meta, got, want)
		}
		c.end()
	}
	checkEmpty(t, tr)
}

func TestMetaNotKept(t *testing.T) {
	n := newNode()
	tr := newTracker(t, n, Options{})
	c := n.join("room:1")
	raw := json.RawMessage(` {"a":1}`)
	ref := track(t, tr, c, "ann", raw)
	if string(raw) != ` {"a":1}` {
		t.Fatalf("the caller's meta is now %q", raw)
	}
	copy(raw, "garbage!")
	tr.Get("room:1", "ann")[0].JSON[0] = '!'
	if got, want := string(tr.Get("room:1", "ann")[0].JSON), fmt.Sprintf(`{"phx_ref":%q,"a":1}`, ref); got != want {
		t.Fatalf("meta %s, want %s", got, want)
	}
}

func TestKeysAreEncoded(t *testing.T) {
	n := newNode()
	tr := newTracker(t, n, Options{})
	c := n.join("room:1")
	keys := []string{"", `"`, "<b>", "__proto__", "\x00\n", "é💬", `\`}
	for _, key := range keys {
		track(t, tr, c, key, struct{}{})
	}
	var list map[string]Entry
	raw := tr.AppendList(nil, "room:1")
	var parsed map[string]metas
	if err := json.Unmarshal(raw, &parsed); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	for _, key := range keys {
		if len(parsed[key].Metas) != 1 {
			t.Errorf("no %q in %s", key, raw)
		}
	}
	// List encodes to the same.
	encoded, err := json.Marshal(tr.List("room:1"))
	if err != nil {
		t.Fatal(err)
	}
	var again map[string]metas
	if err := json.Unmarshal(encoded, &again); err != nil || len(again) != len(keys) {
		t.Errorf("%s: %v, %v", encoded, err, list)
	}
}

func TestUpdateFunc(t *testing.T) {
	n := newNode()
	tr := newTracker(t, n, Options{})
	c := n.join("room:1")
	r1 := track(t, tr, c, "ann", json.RawMessage(`{"n":1}`))
	calls := 0
	r3, err := tr.UpdateFunc(c, "ann", func(meta json.RawMessage) any {
		calls++
		var m map[string]any
		if err := json.Unmarshal(meta, &m); err != nil {
			t.Error(err)
		}
		if calls == 1 {
			if m["phx_ref"] != r1 {
				t.Errorf("meta %s", meta)
			}
			update(t, tr, c, "ann", json.RawMessage(`{"n":10}`)) // somebody is faster
		}
		m["n"] = m["n"].(float64) + 1
		return m
	})
	if err != nil || calls != 2 {
		t.Fatalf("%v after %d calls", err, calls)
	}
	got := tr.Get("room:1", "ann")[0]
	if want := fmt.Sprintf(`{"phx_ref":%q,"phx_ref_prev":%q,"n":11}`, r3, got.PrevRef); string(got.JSON) != want || got.PrevRef == r1 {
		t.Errorf("meta %s, want %s", got.JSON, want)
	}
	if _, err := tr.UpdateFunc(c, "ann", func(json.RawMessage) any { return 1 }); !errors.Is(err, ErrMetaNotObject) {
		t.Errorf("error %v", err)
	}
}

// TestOneDiffForAll: a channel that ends, or untracks all, is one diff for all of its keys.
func TestOneDiffForAll(t *testing.T) {
	for name, leave := range map[string]func(*Tracker, *channel){
		"end":         func(_ *Tracker, c *channel) { c.end() },
		"untrack all": func(tr *Tracker, c *channel) { tr.UntrackAll(c) },
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode()
			tr := newTracker(t, n, Options{})
			c, other := n.join("room:1"), n.join("room:1")
			for i := range 50 {
				track(t, tr, c, fmt.Sprint(i), struct{}{})
			}
			track(t, tr, other, "7", struct{}{})
			n.takeDiffs()
			leave(tr, c)
			diffs := n.takeDiffs()
			if len(diffs) != 1 {
				t.Fatalf("%d diffs", len(diffs))
			}
			var d diff
			if err := json.Unmarshal([]byte(diffs[0]), &d); err != nil || len(d.Joins) != 0 || len(d.Leaves) != 50 {
				t.Fatalf("%d joins, %d leaves, %v", len(d.Joins), len(d.Leaves), err)
			}
			if tr.Count("room:1") != 1 {
				t.Errorf("%d keys left", tr.Count("room:1"))
			}
		})
	}
}

func TestDiffsOff(t *testing.T) {
	n := newNode()
	asked := make(map[string]int)
	tr := newTracker(t, n, Options{Window: 1, Diffs: func(topic string) bool {
		asked[topic]++
		return topic != "quiet"
	}})
	c := n.join("quiet")
	track(t, tr, c, "ann", struct{}{})
	ref := update(t, tr, c, "ann", struct{}{})
	if err := tr.PushState(c); err != nil {
		t.Fatal(err)
	}
	got := c.take()
	if len(got) != 1 || got[0].name != EventState || tr.Get("quiet", "ann")[0].Ref != ref {
		t.Fatalf("got %q", got)
	}
	if list := string(tr.AppendList(nil, "quiet")); list != got[0].payload {
		t.Errorf("state %s, list %s", got[0].payload, list)
	}
	if asked["quiet"] != 1 {
		t.Errorf("asked %d times", asked["quiet"])
	}
	c.end()
	wantDiffs(t, n)
	checkEmpty(t, tr)
}

func TestBroadcastFails(t *testing.T) {
	n := newNode()
	n.err = errors.New("no")
	var failed []string
	tr := newTracker(t, n, Options{OnError: func(topic string, err error) {
		if !errors.Is(err, n.err) {
			t.Error(err)
		}
		failed = append(failed, topic)
	}})
	c := n.join("room:1")
	track(t, tr, c, "ann", struct{}{})
	if !slices.Equal(failed, []string{"room:1"}) || tr.Count("room:1") != 1 {
		t.Errorf("errors of %q, count %d", failed, tr.Count("room:1"))
	}
}

func TestClose(t *testing.T) {
	n := newNode()
	tr := newTracker(t, n, Options{})
	c := n.join("room:1")
	track(t, tr, c, "ann", struct{}{})
	n.takeDiffs()
	tr.Close()
	tr.Close()
	if _, err := tr.Track(c, "bob", struct{}{}); !errors.Is(err, ErrClosed) {
		t.Errorf("track: %v", err)
	}
	if _, err := tr.Update(c, "ann", struct{}{}); !errors.Is(err, ErrClosed) {
		t.Errorf("update: %v", err)
	}
	if _, err := tr.UpdateFunc(c, "ann", func(json.RawMessage) any { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("update with func: %v", err)
	}
	if err := tr.PushState(c); !errors.Is(err, ErrClosed) {
		t.Errorf("state: %v", err)
	}
	tr.Untrack(c, "ann")
	tr.UntrackAll(c)
	tr.Flush()
	c.end()
	wantDiffs(t, n)
	checkEmpty(t, tr)
}
