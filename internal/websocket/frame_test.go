package websocket

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestHeaderVectors(t *testing.T) {
	for _, c := range []struct {
		op   Op
		n    int
		want string
	}{
		{OpText, 0, "\x81\x00"},
		{OpText, 5, "\x81\x05"},
		{OpBinary, 125, "\x82\x7d"},
		{OpText, 126, "\x81\x7e\x00\x7e"},
		{OpText, 127, "\x81\x7e\x00\x7f"},
		{OpBinary, 256, "\x82\x7e\x01\x00"},
		{OpText, 65535, "\x81\x7e\xff\xff"},
		{OpText, 65536, "\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"},
		{OpBinary, 10_000_000, "\x82\x7f\x00\x00\x00\x00\x00\x98\x96\x80"},
		{OpClose, 2, "\x88\x02"},
		{OpPing, 0, "\x89\x00"},
		{OpPong, 5, "\x8a\x05"},
	} {
		dst := bytes.Repeat([]byte{0xee}, MaxHeaderSize)
		size := PutHeader(dst, c.op, c.n)
		if got := string(dst[MaxHeaderSize-size:]); got != c.want || size != HeaderSize(c.n) {
			t.Errorf("op %x, %d bytes: %x of size %d, want %x", c.op, c.n, got, size, c.want)
		}
		if before := dst[:MaxHeaderSize-size]; len(bytes.Trim(before, "\xee")) != 0 {
			t.Errorf("op %x, %d bytes: wrote before the head", c.op, c.n)
		}
	}
}

// The unmasked examples of RFC 6455, 5.7.
func TestAppendFrameVectors(t *testing.T) {
	if got, want := AppendFrame([]byte("."), OpText, []byte("Hello")), ".\x81\x05Hello"; string(got) != want {
		t.Errorf("%x, want %x", got, want)
	}
	if got, want := AppendFrame(nil, OpPing, []byte("Hello")), "\x89\x05Hello"; string(got) != want {
		t.Errorf("%x, want %x", got, want)
	}
	long := strings.Repeat("x", 256)
	if got, want := AppendFrame(nil, OpBinary, []byte(long)), "\x82\x7e\x01\x00"+long; string(got) != want {
		t.Errorf("%x, want %x", got, want)
	}
}

// The masked example of RFC 6455, 5.7.
func TestDecodeVector(t *testing.T) {
	b := []byte{0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58}
	if found, code := feed(t, b, nil); code != 0 || len(found) != 1 || found[0] != `text "Hello"` {
		t.Errorf("%q, code %d", found, code)
	}
}

func TestAppendClose(t *testing.T) {
	for _, c := range []struct {
		code   uint16
		reason string
		want   string
	}{
		{1000, "", "\x88\x02\x03\xe8"},
		{1011, "", "\x88\x02\x03\xf3"},
		{1012, "bye", "\x88\x05\x03\xf4bye"},
		{0, "not sent", "\x88\x00"},
		{CloseNoStatus, "", "\x88\x00"},
		{1000, strings.Repeat("x", 124), "\x88\x7d\x03\xe8" + strings.Repeat("x", 123)},
		{1000, strings.Repeat("x", 122) + "é", "\x88\x7c\x03\xe8" + strings.Repeat("x", 122)},
	} {
		got := AppendClose(nil, c.code, c.reason)
		if string(got) != c.want {
			t.Errorf("%d %q: %q, want %q", c.code, c.reason, got, c.want)
		}
		code, reason := ParseClose(got[2:])
		if !utf8.Valid(reason) || code != c.code && code != CloseNoStatus {
			t.Errorf("%d %q comes back as %d %q", c.code, c.reason, code, reason)
		}
	}
}

func TestAppendCloseReply(t *testing.T) {
	for payload, want := range map[string]string{
		"":            "\x88\x00",
		"\x03\xe8bye": "\x88\x02\x03\xe8",
		"\x13\x87":    "\x88\x02\x13\x87",
	} {
		if got := AppendCloseReply(nil, []byte(payload)); string(got) != want {
			t.Errorf("%q: %q, want %q", payload, got, want)
		}
	}
}
