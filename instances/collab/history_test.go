package collab

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/mycelium-rt/mycelium/instances"
)

func submit(t testing.TB, h *history, base int64, id, op string) entry {
	t.Helper()
	e, doc, again, err := h.next(base, "ada", id, json.RawMessage(op))
	if err != nil {
		t.Fatal(err)
	}
	if !again {
		h.append(e, doc)
	}
	return e
}

func shown(t testing.TB, h *history) string {
	t.Helper()
	text, err := h.doc.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestHistory(t *testing.T) {
	h := &history{bounds: bounds{3, 1000}, doc: text{most: 100}}
	submit(t, h, 0, "1", `["hello"]`)
	submit(t, h, 1, "2", `[5," world"]`)
	if e := submit(t, h, 1, "3", `[-1,"J",4]`); e.Rev != 3 || shown(t, h) != `"Jello world"` {
		t.Errorf("%+v, %s", e, shown(t, h))
	}
	if e := submit(t, h, 1, "3", `[-1,"J",4]`); e.Rev != 3 || h.rev != 3 {
		t.Errorf("sent again: %+v, revision %d", e, h.rev)
	}
	submit(t, h, 3, "4", `[11,"!"]`)
	for base, reason := range map[int64]string{
		0: "rev is 0, which is too old: the log begins at 1", -1: "rev is -1: the document is at revision 4", 5: "rev is 5: the document is at revision 4",
	} {
		if _, _, _, err := h.next(base, "ada", "5", json.RawMessage(`[]`)); err == nil || !strings.HasPrefix(err.Error(), reason) {
			t.Errorf("on revision %d: %v", base, err)
		}
	}
	for rev, want := range map[int64]string{4: "[]", 3: "[4]", 1: "[2 3 4]", 0: "doc", -1: "doc"} {
		u, err := h.catchUp(rev)
		got := "doc"
		if u.Ops != nil {
			revs := []int64{}
			for _, e := range u.Ops {
				revs = append(revs, e.Rev)
			}
			got = fmt.Sprint(revs)
		} else if string(u.Doc) != `"Jello world!"` {
			t.Errorf("the document: %s", u.Doc)
		}
		if err != nil || u.Rev != 4 || got != want {
			t.Errorf("who has %d gets %s (%+v, %v), want %s", rev, got, u, err, want)
		}
	}
}

func TestTheLogIsBoundedInBytes(t *testing.T) {
	h := &history{bounds: bounds{1000, 200}, doc: text{most: 1000}}
	for i := range 20 {
		submit(t, h, int64(i), fmt.Sprint(i), `["0123456789"]`)
		size := 0
		for _, e := range h.log {
			text, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			size += len(text) + 1
		}
		if size > 200 || size != h.bytes {
			t.Fatalf("%d bytes, counted %d", size, h.bytes)
		}
	}
	if len(h.log) != 3 || h.oldest() != 17 {
		t.Errorf("%d operations from %d", len(h.log), h.oldest())
	}
}

// TestWhatIsTakenCanBeReadAgain: an operation that those before it have cut into
// pieces is in the saved log.
func TestWhatIsTakenCanBeReadAgain(t *testing.T) {
	h := &history{bounds: bounds{10, maxLogBytes}, doc: text{most: maxUnits}}
	submit(t, h, 0, "all", `["`+strings.Repeat("x", 3000)+`"]`)
	inserts := `[` + strings.Repeat(`3,"a",`, maxParts/2-1) + `1,"a"]`
	submit(t, h, 1, "a", inserts)
	_, _, _, err := h.next(1, "eve", "b", json.RawMessage(`[-3000]`))
	if err == nil || !strings.Contains(err.Error(), "more than 1000 parts") {
		t.Errorf("a removal in 1001 parts: %v", err)
	}
	submit(t, h, 1, "c", `[-1490]`)
	data, err := h.encode()
	if err != nil {
		t.Fatal(err)
	}
	again := &history{bounds: h.bounds, doc: text{most: maxUnits}}
	if err := again.decode(data); err != nil {
		t.Fatal(err)
	}
	if shown(t, again) != shown(t, h) || again.bytes != h.bytes || again.rev != h.rev {
		t.Errorf("revision %d, %d bytes; want %d, %d", again.rev, again.bytes, h.rev, h.bytes)
	}
}

// TestTheLargestHistoryCanBeSaved: whatever is in it.
func TestTheLargestHistoryCanBeSaved(t *testing.T) {
	quarter := strings.Repeat(`\u0001`, 10_000) // as large as it gets in JSON
	some := strings.Repeat("x", 10_000)
	for name, c := range map[string]struct {
		doc   document
		op    func(i int) string
		first string
		same  string // leaves what first has made as large as it is
	}{
		"text":      {text{most: maxUnits}, func(int) string { return `["` + quarter + `"]` }, `["` + some + `"]`, `["` + some + `",-10000]`},
		"registers": {registers{most: maxUnits}, func(i int) string { return fmt.Sprintf(`{"%d%s":1}`, i, quarter) }, `{"same":"` + some + `"}`, `{"same":"` + some + `"}`},
	} {
		h := &history{bounds: bounds{10_000, maxLogBytes}, doc: c.doc}
		submit(t, h, 0, "first", c.first)
		var refused error
		for i := range 30 {
			e, doc, _, err := h.next(h.rev, strings.Repeat("\x01", 64), fmt.Sprint(i), json.RawMessage(c.op(i)))
			if err != nil {
				refused = err
				break
			}
			h.append(e, doc)
		}
		if refused == nil || !strings.Contains(refused.Error(), "at most") {
			t.Errorf("%s: %v", name, refused)
		}
		for i := range 45 {
			submit(t, h, h.rev, fmt.Sprintf("%064d", i), c.same)
		}
		data, err := h.encode()
		if err != nil || len(data) > instances.MaxStateBytes {
			t.Errorf("%s: %d bytes, %v", name, len(data), err)
		}
	}
}

func TestRegisters(t *testing.T) {
	h := &history{bounds: bounds{10, 1000}, doc: registers{most: 30}}
	submit(t, h, 0, "1", `{"color":"red","size":1}`)
	submit(t, h, 0, "2", `{"color":"blue","size":null}`)
	if shown(t, h) != `{"color":"blue"}` {
		t.Errorf("%s", shown(t, h))
	}
	for op, reason := range map[string]string{`[]`: "op is not an object", `null`: "op is not an object", `{"k":"012345678901234567890"}`: "the document would have 35 bytes: at most 30"} {
		if _, _, _, err := h.next(2, "ada", "x", json.RawMessage(op)); err == nil || !strings.HasPrefix(err.Error(), reason) {
			t.Errorf("%s: %v", op, err)
		}
	}
}

// client does what a client must: it has one operation under way, and rebases
// it and what comes.
type client struct {
	name string
	rev  int64
	doc  text
	sent textChange // unanswered, on the document of rev; nil: none
	ids  int
}

func (c *client) id() string { return fmt.Sprint(c.ids) }

// receive takes the next operation of the server's order.
func (c *client) receive(t *rapid.T, e entry) {
	if e.Rev != c.rev+1 {
		t.Fatalf("%s is at %d and receives %d", c.name, c.rev, e.Rev)
	}
	c.rev = e.Rev
	if e.User == c.name && e.ID == c.id() {
		c.sent = nil
		return
	}
	theirs := e.change.(textChange)
	if c.sent != nil {
		c.sent, theirs = c.sent.rebase(theirs, true), theirs.rebase(c.sent, false)
	}
	c.doc = applied(t, c.doc, theirs)
}

// TestClientsConverge: whoever types what, receives when, sends again and
// comes back after a restart, all have the server's text in the end.
func TestClientsConverge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &history{bounds: bounds{1000, 1 << 20}, doc: text{most: 1000}}
		clients := []*client{{name: "ada", doc: text{most: 1000}}, {name: "bob", doc: text{most: 1000}}, {name: "eve", doc: text{most: 1000}}}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			c := rapid.SampledFrom(clients).Draw(t, "who")
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 0, 1: // types, or sends again what has no answer yet
				if c.sent == nil {
					c.ids++
					c.sent = append(textChange{}, drawChange(t, c.doc, c.name)...)
					c.doc = applied(t, c.doc, c.sent)
				}
				c.send(t, h)
			case 2, 3:
				if c.rev < h.rev {
					c.receive(t, h.log[c.rev-h.oldest()])
				}
			case 4:
				data, err := h.encode()
				if err != nil {
					t.Fatal(err)
				}
				h = &history{bounds: h.bounds, doc: text{most: 1000}}
				if err := h.decode(data); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, c := range clients {
			for c.rev < h.rev {
				c.receive(t, h.log[c.rev-h.oldest()])
			}
			if c.sent != nil || c.doc.String() != h.doc.(text).String() {
				t.Fatalf("%s at %d has %q and unanswered %v, the server %q", c.name, c.rev, c.doc, c.sent, h.doc)
			}
		}
	})
}

// send gives the server the client's operation, again if it has it already.
func (c *client) send(t *rapid.T, h *history) {
	op, err := json.Marshal(c.sent)
	if err != nil {
		t.Fatal(err)
	}
	e, doc, again, err := h.next(c.rev, c.name, c.id(), op)
	if err != nil {
		t.Fatal(err)
	}
	if !again {
		h.append(e, doc)
	}
}

func TestADamagedHistoryIsAnError(t *testing.T) {
	for _, data := range []string{"", `{"doc":1}`, `{"doc":"x","log":[{"rev":1,"op":{}}]}`} {
		if err := (&history{doc: text{most: 10}}).decode([]byte(data)); err == nil {
			t.Errorf("%q was taken", data)
		}
	}
	h := &history{doc: text{most: 10}}
	for _, op := range []string{`{}`, `[5]`} {
		if err := h.replay(entry{Rev: 1, Op: json.RawMessage(op)}); err == nil {
			t.Errorf("%s was replayed", op)
		}
	}
}

// TestTheLimitOutlivesARestart: registers that are loaded may grow to the configured size, not to
// that of their JSON.
func TestTheLimitOutlivesARestart(t *testing.T) {
	doc, err := registers{most: 20}.load([]byte(`{"a":1,"b":2,"c":3,"d":4,"e":5}`)) // 10 bytes
	if err != nil {
		t.Fatal(err)
	}
	if doc, err = doc.apply(parsed(t, doc, `{"f":12345678}`)); err != nil {
		t.Errorf("19 bytes: %v", err)
	}
	if _, err := doc.apply(parsed(t, doc, `{"g":7}`)); err == nil {
		t.Error("21 bytes were not refused")
	}
	large, err := registers{most: 5}.load([]byte(`{"a":1,"b":2,"c":3,"d":4,"e":5}`)) // the limit was higher once
	if err != nil {
		t.Fatal(err)
	}
	if _, err := large.apply(parsed(t, large, `{"a":null}`)); err != nil {
		t.Errorf("a smaller document: %v", err)
	}
	if _, err := large.apply(parsed(t, large, `{"f":6}`)); err == nil {
		t.Error("a larger document was not refused")
	}
}
