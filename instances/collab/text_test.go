package collab

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"

	"pgregory.net/rapid"
)

func textOf(s string) text { return text{utf16.Encode([]rune(s)), 1000} }

func (t text) String() string { return string(utf16.Decode(t.units)) }

func parsed(t testing.TB, doc document, op string) change {
	t.Helper()
	c, err := doc.parse(json.RawMessage(op))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTextChanges(t *testing.T) {
	for _, test := range []struct{ before, op, after string }{
		{"hello", `["well, "]`, "well, hello"},
		{"hello", `[5, " you"]`, "hello you"},
		{"hello", `[1, -3]`, "ho"},
		{"hello", `[1, -3, "ipp", 1]`, "hippo"},
		{"hello", `[]`, "hello"},
		{"", `["a", "b"]`, "ab"},
		{"a😀b", `[3, "!"]`, "a😀!b"},
		{"a😀b", `[1, -2]`, "ab"},
	} {
		doc, err := textOf(test.before).apply(parsed(t, text{}, test.op))
		if err != nil || doc.(text).String() != test.after {
			t.Errorf("%s to %q: %v, %v; want %q", test.op, test.before, doc, err, test.after)
		}
	}
}

func TestTextRefusals(t *testing.T) {
	for _, test := range []struct{ before, op, reason string }{
		{"", `{}`, "op is not a list"},
		{"", `[0]`, "op[0] is 0: a part is a text, or a whole number other than 0"},
		{"", `["a",1.5]`, "op[1] is 1.5: a part is"},
		{"", `[1e99]`, "op[0] is 1e+99: a part is"},
		{"", `[null]`, "op[0] is neither a text nor a number"},
		{"", "[" + strings.Repeat("1,", 1000) + "1]", "op has 1001 parts"},
		{"abc", `[4]`, "op is longer than the text: it has 3 units"},
		{"abc", `[2,-2]`, "op is longer than the text"},
		{"a😀b", `[2,"x"]`, "op cuts a surrogate pair in two"},
		{"a😀b", `[1,-1]`, "op cuts a surrogate pair in two"},
		{"", `["` + strings.Repeat("x", 1001) + `"]`, "the document would have 1001 units: at most 1000"},
	} {
		doc := textOf(test.before)
		c, err := doc.parse(json.RawMessage(test.op))
		if err == nil {
			_, err = doc.apply(c)
		}
		if err == nil || !strings.HasPrefix(err.Error(), test.reason) {
			t.Errorf("%.20s: %v, want %s", test.op, err, test.reason)
		}
	}
}

func TestWhoCameFirstStandsFirst(t *testing.T) {
	first, second := parsed(t, text{}, `[1,"x"]`), parsed(t, text{}, `[1,"y"]`)
	doc, _ := textOf("ab").apply(first)
	doc, err := doc.apply(second.after(first))
	if err != nil || doc.(text).String() != "axyb" {
		t.Errorf("%v, %v", doc, err)
	}
}

// drawChange is any change that fits a text, in whatever pieces.
func drawChange(t *rapid.T, doc text, name string) textChange {
	var c textChange
	for at := 0; ; {
		if rapid.IntRange(0, 2).Draw(t, name+" inserts") == 0 {
			c = c.insert(utf16.Encode([]rune(rapid.StringOfN(rapid.RuneFrom([]rune("ab😀")), 1, 3, -1).Draw(t, name+" text"))))
		}
		if at == len(doc.units) || rapid.IntRange(0, 7).Draw(t, name+" ends") == 0 {
			return c
		}
		n := rapid.IntRange(1, len(doc.units)-at).Draw(t, name+" spans")
		if doc.splits(at + n) {
			n++
		}
		if at += n; rapid.Bool().Draw(t, name+" removes") {
			c = c.remove(n)
		} else {
			c = c.retain(n)
		}
	}
}

func drawText(t *rapid.T) text {
	return textOf(rapid.StringOfN(rapid.RuneFrom([]rune("xyz😀")), 0, 12, -1).Draw(t, "before"))
}

func applied(t *rapid.T, doc document, c change) text {
	next, err := doc.apply(c)
	if err != nil {
		t.Fatalf("%v to %v: %v", c, doc, err)
	}
	return next.(text)
}

// TestTextConverges: of two changes to one text, each rebased on the other, it
// does not matter which comes first.
func TestTextConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		doc := drawText(t)
		a, b := drawChange(t, doc, "a"), drawChange(t, doc, "b")
		one := applied(t, applied(t, doc, a), b.rebase(a, true))
		other := applied(t, applied(t, doc, b), a.rebase(b, false))
		if one.String() != other.String() {
			t.Fatalf("%q: a then b %q, b then a %q", doc, one, other)
		}
	})
}

// TestNobodysTextIsLost: what is inserted is there after any concurrent change,
// and what is deleted is not.
func TestNobodysTextIsLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		doc := drawText(t)
		a, b := drawChange(t, doc, "a"), drawChange(t, doc, "b")
		after := applied(t, applied(t, doc, a), b.after(a))
		gone := make([]bool, len(doc.units))
		inserted := 0
		for _, c := range []textChange{a, b} {
			at := 0
			for _, p := range c {
				inserted += len(p.insert)
				for i := range p.remove {
					gone[at+i] = true
				}
				at += p.retain + p.remove
			}
		}
		kept := 0
		for _, g := range gone {
			if !g {
				kept++
			}
		}
		if len(after.units) != kept+inserted {
			t.Fatalf("%q, %v, %v: %q has %d units, want %d kept and %d inserted", doc, a, b, after, len(after.units), kept, inserted)
		}
	})
}

func TestTextIsItsJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		doc := drawText(t)
		c := drawChange(t, doc, "c")
		op, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		again, err := doc.parse(op)
		if err != nil || fmt.Sprint(again) != fmt.Sprint(c) {
			t.Fatalf("%v became %s became %v, %v", c, op, again, err)
		}
		whole, _ := json.Marshal(doc)
		loaded, err := doc.load(whole)
		if err != nil || loaded.(text).String() != doc.String() {
			t.Fatalf("%q became %s became %v, %v", doc, whole, loaded, err)
		}
	})
}
