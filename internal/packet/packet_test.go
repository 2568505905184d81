package packet

import (
	"strings"
	"testing"
	"time"
)

func TestBytes(t *testing.T) {
	for want, got := range map[string][]byte{
		"\x00\x00\x00\x03\x01[]":                                 Append(nil, Text, []byte("[]")),
		"\x00\x00\x00\x01\x09":                                   Append(nil, Ping, nil),
		"\x00\x00\x00\x01\x08":                                   AppendClose(nil, 0, "left out"),
		"\x00\x00\x00\x07\x08\x03\xf4full":                       AppendClose(nil, 1012, "full"),
		"\x00\x00\x00\x7d\x08\x03\xf4" + strings.Repeat("é", 61): AppendClose(nil, 1012, strings.Repeat("é", 62)),
		"\x00\x00\x00\x03\x08\x03\xe8":                           AppendCloseReply(nil, []byte("\x03\xe8bye")),
		"\x00\x00\x00\x09\x04\x00\x00\xea\x60\x00\x98\x96\x80":   AppendAccepted(nil, time.Minute, 10_000_000),
		"\x00\x00\x00\x09\x04\x00\x00\x00\x00\xff\xff\xff\xff":   AppendAccepted(nil, 0, 1<<40),
		"\x00\x00\x00\x09\x05\x01\xf7\x00\x02busy":               AppendRefused(nil, 503, 2, "busy"),
		"\x00\x00\x00\x05\x05\x01\x93\xff\xff":                   AppendRefused(nil, 403, 1<<20, ""),
	} {
		if string(got) != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	header := make([]byte, HeaderSize)
	if PutHeader(header, Binary, 1<<20); string(header) != "\x00\x10\x00\x01\x02" {
		t.Errorf("header %q", header)
	}
	if got := AppendRefused(nil, 403, 0, strings.Repeat("x", 2000)); len(got) != HeaderSize+4+maxReason {
		t.Errorf("a long reason takes %d bytes", len(got))
	}
}
