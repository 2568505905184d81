package bench

import (
	"bytes"
	"encoding/json"
	"io"
	"testing"

	"github.com/gobwas/ws"
	"pgregory.net/rapid"
)

// TestAppendFrame checks that another implementation of RFC 6455 reads our frames.
func TestAppendFrame(t *testing.T) {
	for _, size := range []int{0, 1, 7, 8, 9, 15, 125, 126, 65535, 65536, 1 << 20} {
		payload := bytes.Repeat([]byte("bench"), size/5+1)[:size]
		h, got, err := readFrame(appendFrame(nil, opText, payload))
		if err != nil {
			t.Fatal(err)
		}
		if !h.Fin || h.OpCode != ws.OpText || !h.Masked {
			t.Errorf("%d bytes: %+v", size, h)
		}
		if !bytes.Equal(got, payload) {
			t.Errorf("%d bytes are %.40q", size, got)
		}
	}
}

func readFrame(b []byte) (ws.Header, []byte, error) {
	r := bytes.NewReader(b)
	h, err := ws.ReadHeader(r)
	if err != nil {
		return h, nil, err
	}
	payload := b[len(b)-r.Len():]
	ws.Cipher(payload, h.Mask, 0)
	if int64(len(payload)) != h.Length {
		err = io.ErrUnexpectedEOF
	}
	return h, payload, err
}

// TestReadHead checks that headers are read as they were written, and not before they
// are complete.
func TestReadHead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := ws.Header{Fin: rapid.Bool().Draw(t, "final"), OpCode: ws.OpText, Length: int64(rapid.SampledFrom([]int{0, 125, 126, 65535, 65536, maxFrame}).Draw(t, "length"))}
		var b bytes.Buffer
		if err := ws.WriteHeader(&b, want); err != nil {
			t.Fatal(err)
		}
		for n := range b.Len() {
			if h, err := readHead(b.Bytes()[:n]); h.size != 0 || err != nil {
				t.Fatalf("%d bytes of the head: %+v, %v", n, h, err)
			}
		}
		h, err := readHead(b.Bytes())
		if err != nil || h.final != want.Fin || h.op != opText || int64(h.length) != want.Length || h.size != b.Len() {
			t.Fatalf("%+v is %+v, %v", want, h, err)
		}
	})
}

func TestReadHeadRefuses(t *testing.T) {
	for name, b := range map[string][]byte{
		"masked": {0x81, 0x80}, "compressed": {0xc1, 0}, "enormous": {0x81, 127, 1, 0, 0, 0, 0, 0, 0, 0},
	} {
		if _, err := readHead(b); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestParseMessage(t *testing.T) {
	tests := []struct {
		text                                string
		joinRef, ref, topic, event, payload string
	}{
		{`["1","2","room:a","msg",{"a":[1]}]`, "1", "2", "room:a", "msg", `{"a":[1]}]`},
		{`[null,null,"room:a","msg",{}]`, "", "", "room:a", "msg", `{}]`},
		{` [ null , 7 , "a\"b\\" , "e" , {} ] `, "", "7", `a\"b\\`, "e", ` {} ] `},
		{`["","","","",`, "", "", "", "", ""},
	}
	for _, test := range tests {
		m, ok := parseMessage([]byte(test.text))
		if !ok || string(m.joinRef) != test.joinRef || string(m.ref) != test.ref || string(m.topic) != test.topic ||
			string(m.event) != test.event || string(m.payload) != test.payload {
			t.Errorf("%s is %q, %v", test.text, m, ok)
		}
	}
	for _, text := range []string{``, `{}`, `[`, `["1"`, `["1","2","3","4"]`, `["1","2","room`, `[1,2,3`, `["1" 2,3,4,{}]`, `["a\"`} {
		if m, ok := parseMessage([]byte(text)); ok {
			t.Errorf("%s is %q", text, m)
		}
	}
}

func FuzzParseMessage(f *testing.F) {
	f.Add([]byte(`["1","2","room:a","msg",{"a":[1]}]`))
	f.Add([]byte(`[null,null,"a\"b\\","e",{}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, ok := parseMessage(text)
		var elements []json.RawMessage
		if json.Unmarshal(text, &elements) != nil || len(elements) != 5 || elements[0][0] == '[' || elements[0][0] == '{' {
			return // not a message, whatever parseMessage makes of it
		}
		for _, e := range elements[:4] {
			if e[0] != '"' && !json.Valid(e) || e[0] == '[' || e[0] == '{' {
				return
			}
		}
		if !ok {
			t.Fatalf("%q is not a message", text)
		}
		if e := elements[3]; e[0] == '"' && string(m.event) != string(e[1:len(e)-1]) {
			t.Fatalf("the event of %q is %q", text, m.event)
		}
	})
}

// TestMark checks that a mark is found whatever a server does to the object around it.
func TestMark(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := mark{rapid.IntRange(0, 1e6).Draw(t, "sender"), rapid.Uint32().Draw(t, "number"), rapid.Int64Range(0, 1<<62).Draw(t, "since")}
		text := string(want.append(nil))
		for _, payload := range []string{
			`{"body":"xxx","bench":"` + text + `"}]`,
			`{"bench": "` + text + `", "body":"xxx"}]`,
			`{"payload":{"bench":"` + text + `"}}]`,
		} {
			if got, ok := findMark([]byte(payload)); !ok || got != want {
				t.Fatalf("the mark of %s is %v, %v", payload, got, ok)
			}
		}
	})
	for _, payload := range []string{`{}`, `{"bench":1}`, `{"bench":"1.2"}`, `{"bench":"1..2"}`, `{"bench":`, `{"bench":"x.1.2"}`} {
		if m, ok := findMark([]byte(payload)); ok {
			t.Errorf("the mark of %s is %v", payload, m)
		}
	}
}

func TestPattern(t *testing.T) {
	for text, want := range map[string]string{
		"room": "room", "room:{n}": "room:42", "{n}-{n}": "42-42", `{"user":"u{n}"}`: `{"user":"u42"}`, "": "", "{m}": "{m}",
	} {
		if got := string(newPattern(text).append(nil, 42)); got != want {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
	}
}
