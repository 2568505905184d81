package conformance

import (
	"fmt"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

var (
	repeatPattern      = regexp.MustCompile(`\$\{repeat:([^}]):([0-9]+)\}`)
	placeholderPattern = regexp.MustCompile(`\$\{(?:([a-z_0-9]+):([A-Za-z_0-9]+)|date|any)\}`)
)

// maxRepeat bounds ${repeat:c:N}; the largest recorded is 10 million.
const maxRepeat = 64 << 20

// expandRepeat replaces each ${repeat:c:N}. It works on the text before it is parsed as
// JSON, because the placeholder may be outside of a JSON string.
func expandRepeat(text string) string {
	if !strings.Contains(text, "${repeat:") {
		return text
	}
	return repeatPattern.ReplaceAllStringFunc(text, func(p string) string {
		m := repeatPattern.FindStringSubmatch(p)
		n, err := strconv.Atoi(m[2])
		if err != nil || n > maxRepeat {
			return p
		}
		return strings.Repeat(m[1], n)
	})
}

// bindings has the values of placeholders. It is an immutable list, so that the states
// of a matcher can share what they have in common. nil is empty.
type bindings struct {
	older       *bindings
	kind, index string
	value       string
}

func (b *bindings) lookup(kind, index string) (string, bool) {
	for ; b != nil; b = b.older {
		if b.kind == kind && b.index == index {
			return b.value, true
		}
	}
	return "", false
}

// holder returns the index of the placeholder of a kind that has a value.
func (b *bindings) holder(kind, value string) (string, bool) {
	for ; b != nil; b = b.older {
		if b.kind == kind && b.value == value {
			return b.index, true
		}
	}
	return "", false
}

// bind gives a placeholder its value. It fails for the empty string, for a value other
// than before, and for the value of another placeholder of the same kind.
func (b *bindings) bind(kind, index, value string) (*bindings, bool) {
	if value == "" {
		return b, false
	}
	if have, ok := b.lookup(kind, index); ok {
		return b, have == value
	}
	if _, taken := b.holder(kind, value); taken {
		return b, false
	}
	return &bindings{older: b, kind: kind, index: index, value: value}, true
}

// key returns a string that is the same for bindings with the same content.
func (b *bindings) key() string {
	var parts []string
	for ; b != nil; b = b.older {
		parts = append(parts, b.kind+":"+b.index+"="+b.value)
	}
	sort.Strings(parts)
	return strings.Join(parts, "\x00")
}

// fill replaces placeholders by their values, in something that is sent.
func (b *bindings) fill(text string) (string, error) {
	text = expandRepeat(text)
	var missing error
	out := placeholderPattern.ReplaceAllStringFunc(text, func(p string) string {
		m := placeholderPattern.FindStringSubmatch(p)
		value, ok := b.lookup(m[1], m[2])
		if !ok && missing == nil {
			missing = fmt.Errorf("%s has no value yet", p)
		}
		return value
	})
	return out, missing
}

// matchText compares a string that may contain placeholders with a received one. It
// yields the bindings of each way in which they are the same, until yield returns true,
// and reports whether it did.
func (b *bindings) matchText(want, got string, yield func(*bindings) bool) bool {
	loc := placeholderPattern.FindStringSubmatchIndex(want)
	if loc == nil {
		return want == got && yield(b)
	}
	head, tail := want[:loc[0]], want[loc[1]:]
	if !strings.HasPrefix(got, head) {
		return false
	}
	rest := got[len(head):]
	if loc[2] < 0 { // ${date}, ${any}: any text
		for n := 0; n <= len(rest); n++ {
			if (tail != "" || n == len(rest)) && b.matchText(tail, rest[n:], yield) {
				return true
			}
		}
		return false
	}
	kind, index := want[loc[2]:loc[3]], want[loc[4]:loc[5]]
	if value, ok := b.lookup(kind, index); ok {
		return strings.HasPrefix(rest, value) && b.matchText(tail, rest[len(value):], yield)
	}
	for n := 1; n <= len(rest); n++ {
		if tail == "" && n < len(rest) {
			continue // without a tail it takes all the rest
		}
		bound, ok := b.bind(kind, index, rest[:n])
		if ok && bound.matchText(tail, rest[n:], yield) {
			return true
		}
	}
	return false
}
