package records

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestParts: records read the same wherever they are cut, and what is cut off is noticed.
func TestParts(t *testing.T) {
	want := []string{"1 a", "2 ", "3 " + strings.Repeat("x", 300), "99 of a later version"}
	for size := 1; size < 400; size += 7 {
		var parts [][]byte
		w := NewWriter(size, func(part []byte) { parts = append(parts, part) })
		for _, text := range want {
			var typ byte
			fmt.Sscan(text, &typ)
			body := []byte(text[strings.Index(text, " ")+1:])
			w.Record(typ, body[:len(body)/2], body[len(body)/2:])
		}
		w.Flush()
		w.Flush() // nothing is left
		var got []string
		note := func(typ byte, body []byte) error {
			got = append(got, fmt.Sprintf("%d %s", typ, body))
			return nil
		}
		if err := Read(slices.Values(parts), note); err != nil || !slices.Equal(got, want) {
			t.Errorf("parts of %d: %q, %v", size, got, err)
		}
		last := len(parts) - 1
		if n := len(parts[last]); n > size {
			t.Errorf("a part of %d bytes, not %d", n, size)
		}
		parts[last] = parts[last][:len(parts[last])-1]
		if err := Read(slices.Values(parts), note); !errors.Is(err, ErrMalformed) {
			t.Errorf("parts of %d without the last byte: %v", size, err)
		}
	}
	stop := errors.New("stop")
	if err := Read(slices.Values([][]byte{{1, 0}}), func(byte, []byte) error { return stop }); err != stop {
		t.Errorf("each fails: %v", err)
	}
}

// FuzzText: a text is cut where it was appended, and anything else is refused or leaves
// shorter slices.
func FuzzText(f *testing.F) {
	f.Add("text", []byte("rest"))
	f.Fuzz(func(t *testing.T, text string, b []byte) {
		got, rest, err := CutText(append(AppendText(nil, text), b...))
		if err != nil || string(got) != text || !bytes.Equal(rest, b) {
			t.Errorf("%q, %q, %v", got, rest, err)
		}
		if got, rest, err := CutText(b); err == nil && len(got)+len(rest) >= len(b) {
			t.Errorf("%q is cut into %q and %q", b, got, rest)
		}
	})
}
