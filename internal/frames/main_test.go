package frames

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
	"go.uber.org/goleak"

	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/websocket"
	"github.com/mycelium-rt/mycelium/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const offer = "permessage-deflate; client_max_window_bits"

// keyOf is the key of a WebSocket whose client has made an offer of compression.
func keyOf(t testing.TB, s wire.Serializer, offer string) Key {
	t.Helper()
	r, err := websocket.ParseRequest([]byte("GET / HTTP/1.1\r\nHost: h\r\nSec-WebSocket-Extensions: " + offer + "\r\n\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	return Key{Encoding: encodingOf(t, s), Compression: Compression(r.NegotiateDeflate())}
}

func encodingOf(t testing.TB, s wire.Serializer) Encoding {
	t.Helper()
	e, err := EncodingOf(s)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func object(n int) wire.Payload {
	return wire.Payload{Data: []byte(`{"body":"` + strings.Repeat("again and ", n/10) + `"}`)}
}

// noise is bytes that do not get smaller.
func noise(n int) []byte {
	b := make([]byte, n)
	for i, x := 0, uint32(1); i < len(b); i++ {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

func encoded(t testing.TB, topic, event string, p wire.Payload) *Set {
	t.Helper()
	s := new(Set)
	if err := s.Encode(topic, event, p); err != nil {
		t.Fatal(err)
	}
	return s
}

// noFramesLeft fails the test if frames are left at its end that were not there before.
func noFramesLeft(t *testing.T) {
	t.Helper()
	before := netloop.LiveFrames()
	t.Cleanup(func() {
		if n := netloop.LiveFrames() - before; n != 0 {
			t.Errorf("%d frames left", n)
		}
	})
}

// readAll returns the messages of WebSocket frames, decompressed as a client does it.
func readAll(t testing.TB, f *netloop.Frame) (messages []string) {
	t.Helper()
	r := bytes.NewReader(f.AppendTo(nil))
	for r.Len() > 0 {
		head, err := ws.ReadHeader(r)
		frame := ws.Frame{Header: head, Payload: make([]byte, head.Length)}
		if err == nil {
			_, err = io.ReadFull(r, frame.Payload)
		}
		if err == nil && head.Rsv1() {
			frame, err = wsflate.DecompressFrame(frame)
		}
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, string(frame.Payload))
	}
	return messages
}

// readStrings returns the messages that are JSON strings.
func readStrings(t testing.TB, frames ...*netloop.Frame) (messages []string) {
	t.Helper()
	for _, f := range frames {
		var m string
		if err := json.Unmarshal(f.AppendTo(nil), &m); err != nil {
			t.Fatal(err)
		}
		messages = append(messages, m)
	}
	return messages
}
