package history

import "testing"

func TestPositionText(t *testing.T) {
	p := Position{at: 1_900_000_000, marks: marks{{1, 2}, {1 << 63, 300}, {77, 1 << 40}}}
	text := p.String()
	if want := "AYDm_okHAAAAAAAAAAECgAAAAAAAAACsAgAAAAAAAABNgICAgIAg"; text != want {
		t.Errorf("%s (%d characters), want %s", text, len(text), want)
	}
	again, err := ParsePosition(text)
	if err != nil || again.String() != text || again.marks.of(1<<63) != 300 || again.Time() != p.Time() {
		t.Errorf("%+v, %v", again, err)
	}
	for _, wrong := range []string{
		"", "A", "!!!!", "AgA", "AQ", // no text, no base64, another version, no time
		"AQEAAAAAAAAAAQ", "AQEAAAAAAAAAAYA", // cut short
		"AQEAAAAAAAAAAQIAAAAAAAAAAQM", // a log twice
		"Af___________wEAAAAAAAAAAQE", // a time beyond all times
	} {
		if p, err := ParsePosition(wrong); err == nil {
			t.Errorf("%q is %+v", wrong, p)
		}
	}
}

func FuzzParsePosition(f *testing.F) {
	f.Add("AYDm_okHAAAAAAAAAAECgAAAAAAAAACsAgAAAAAAAABNgICAgIAg")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePosition(text)
		if err != nil {
			return
		}
		again, err := ParsePosition(p.String())
		if err != nil || again.String() != p.String() {
			t.Errorf("%q: %+v, then %+v, %v", text, p, again, err)
		}
	})
}

// TestPositionOfManyLogs: a cluster whose nodes are started again and again has positions that
// can be read.
func TestPositionOfManyLogs(t *testing.T) {
	p := Position{at: 1_900_000_000}
	for i := range uint64(250) {
		p.marks = append(p.marks, mark{LogID(i<<55 + 1), 1 << 20})
	}
	text := p.String()
	if again, err := ParsePosition(text); err != nil || again.String() != text {
		t.Errorf("a position of %d bytes is not read: %v", len(text), err)
	}
}
