package topics

import (
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	for _, test := range []struct {
		pattern Pattern
		topic   string
		match   bool
		rest    string
	}{
		{mustParse(t, "room:lobby"), "room:lobby", true, "room:lobby"},
		{mustParse(t, "room:lobby"), "room:lobby2", false, ""},
		{mustParse(t, "room:lobby"), "room:lobb", false, ""},
		{mustParse(t, "room:*"), "room:1", true, "1"},
		{mustParse(t, "room:*"), "room:1:2", true, "1:2"},
		{mustParse(t, "room:*"), "room:", true, ""},
		{mustParse(t, "room:*"), "room:*", true, "*"},
		{mustParse(t, "room:*"), "room", false, ""},
		{mustParse(t, "room:*"), "Room:1", false, ""},
		{mustParse(t, "*"), "anything", true, "anything"},
		{mustParse(t, "*"), "", true, ""},
		{mustParse(t, "raum:ü*"), "raum:üb", true, "b"},
		{Exact("user:*"), "user:*", true, "user:*"},
		{Exact("user:*"), "user:1", false, ""},
		{Prefix("user:*:"), "user:*:1", true, "1"},
		{Prefix("user:*:"), "user:2:1", false, ""},
		{Prefix(""), "anything", true, "anything"},
		{Pattern{}, "", true, ""},
		{Pattern{}, "a", false, ""},
	} {
		if got := test.pattern.Match(test.topic); got != test.match {
			t.Errorf("%q matches %q: %v, want %v", test.pattern, test.topic, got, test.match)
		}
		if got := test.pattern.MatchBytes([]byte(test.topic)); got != test.match {
			t.Errorf("%q matches the bytes %q: %v, want %v", test.pattern, test.topic, got, test.match)
		}
		if !test.match {
			continue
		}
		if got := test.pattern.Rest(test.topic); got != test.rest {
			t.Errorf("the * of %q in %q is %q, want %q", test.pattern, test.topic, got, test.rest)
		}
	}
}

func mustParse(t *testing.T, text string) Pattern {
	t.Helper()
	p, err := Parse(text)
	if err != nil {
		t.Fatalf("%q %v", text, err)
	}
	if p.String() != text || p.Wild() != strings.HasSuffix(text, "*") {
		t.Errorf("%q is read as %q, wild: %v", text, p, p.Wild())
	}
	return p
}

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]error{"": errEmpty, "a*b": errStar, "**": errStar, "*a": errStar, "a**": errStar} {
		if _, err := Parse(text); err != want {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
	}
}

func TestCovers(t *testing.T) {
	for _, test := range []struct {
		wide, narrow string
		want         bool
	}{
		{"*", "a", true}, {"*", "a:*", true}, {"a:*", "a:b", true}, {"a:*", "a:*", true}, {"a:*", "a:b*", true}, {"a", "a", true},
		{"a:b*", "a:*", false}, {"a", "a*", false}, {"a", "b", false}, {"a:*", "a", false}, {"a:", "a:*", false},
	} {
		if got := mustParse(t, test.wide).Covers(mustParse(t, test.narrow)); got != test.want {
			t.Errorf("%q covers %q: %v, want %v", test.wide, test.narrow, got, test.want)
		}
	}
	if !Prefix("user:").Covers(Exact("user:*")) || Exact("user:*").Covers(Prefix("user:")) {
		t.Error("a * that stands for itself is taken for one that stands for anything")
	}
}

func TestMatchAny(t *testing.T) {
	patterns := []string{"lobby", "room:*"}
	for topic, want := range map[string]bool{"lobby": true, "room:1": true, "lobby2": false, "": false} {
		if got := MatchAny(patterns, topic); got != want {
			t.Errorf("%q: %v, want %v", topic, got, want)
		}
	}
	if MatchAny(nil, "a") {
		t.Error("no pattern matches")
	}
}

// TestMatchAllocatesNothing: the router and guards match each message.
func TestMatchAllocatesNothing(t *testing.T) {
	p, topic, long := Prefix("room:"), "room:1", []byte("room:"+strings.Repeat("x", 200))
	patterns := []string{"a", "room:*"}
	if n := testing.AllocsPerRun(100, func() {
		if !p.Match(topic) || !p.MatchBytes(long) || !MatchAny(patterns, topic) || p.Rest(topic) != "1" {
			t.Error("no match")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzPattern holds what the methods say of a pattern against each other and
// against package strings.
func FuzzPattern(f *testing.F) {
	f.Add("room:*", "room:1")
	f.Add("*", "")
	f.Add("a*b", "axb")
	f.Add("lobby", "lobby")
	f.Fuzz(func(t *testing.T, text, topic string) {
		star := strings.IndexByte(text, '*')
		p, err := Parse(text)
		if valid := text != "" && (star < 0 || star == len(text)-1); valid != (err == nil) {
			t.Fatalf("%q: %v", text, err)
		}
		if err != nil {
			return
		}
		prefix, wild := strings.CutSuffix(text, "*")
		want := topic == text || wild && strings.HasPrefix(topic, prefix)
		if p.Match(topic) != want || p.MatchBytes([]byte(topic)) != want || MatchAny([]string{text}, topic) != want || p.Covers(Exact(topic)) != want {
			t.Errorf("%q and %q: want %v", text, topic, want)
		}
		if !want {
			return
		}
		if rest := p.Rest(topic); wild && prefix+rest != topic || !wild && rest != topic {
			t.Errorf("the * of %q in %q is %q", text, topic, rest)
		}
		if q, err := Parse(topic); err == nil && p.Covers(q) && q.Covers(p) && p != q {
			t.Errorf("%q and %q cover each other", p, q)
		}
	})
}
