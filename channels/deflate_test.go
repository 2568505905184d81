package channels

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/websocket"
	"github.com/mycelium-rt/mycelium/wire"
)

// deflating is a socket whose client has made an offer.
func deflating(t testing.TB, v wire.Version, offer string) *Socket {
	t.Helper()
	r, err := websocket.ParseRequest([]byte("GET / HTTP/1.1\r\nHost: h\r\nSec-WebSocket-Extensions: " + offer + "\r\n\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	return &Socket{version: v, deflate: r.NegotiateDeflate()}
}

const offer = "permessage-deflate; client_max_window_bits"

func longPayload(n int) Payload {
	return Payload{Data: []byte(`{"body":"` + strings.Repeat("again and ", n/10) + `"}`)}
}

// A socket that has not agreed to compression pays nothing for it: its struct
// stays in the size class that it had.
func TestConnectionIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(websocketConn{}); size > 208 {
		t.Errorf("a websocketConn has %d bytes", size)
	}
}

func TestBroadcastIsCompressedOncePerVersion(t *testing.T) {
	before := netloop.LiveFrames()
	b, err := newBroadcast("room:1", "msg", longPayload(1000))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	got := make([]*netloop.Frame, 64)
	for i := range got {
		s := deflating(t, []wire.Version{wire.V1, wire.V2}[i%2], offer)
		wg.Go(func() { got[i] = b.frameFor(s) })
	}
	wg.Wait()
	for i, f := range got {
		if f != got[i%2] {
			t.Fatalf("socket %d has a frame of its own", i)
		}
	}
	if n := netloop.LiveFrames() - before; n != 4 {
		t.Errorf("%d frames for two versions, plain and compressed", n)
	}
	plain := b.frameFor(deflating(t, wire.V2, "none"))
	if plain != b.v2 || got[1] == plain || len(got[1].Bytes()) >= len(plain.Bytes())/2 || bytes.Equal(got[0].Bytes(), got[1].Bytes()) {
		t.Errorf("frames of %d bytes plain, %d and %d compressed", len(plain.Bytes()), len(got[0].Bytes()), len(got[1].Bytes()))
	}
	// A window of 512 bytes is too small for this message.
	if b.frameFor(deflating(t, wire.V2, "permessage-deflate; server_max_window_bits=9")) != plain {
		t.Error("a small window is not kept")
	}
	b.Release()
	if n := netloop.LiveFrames() - before; n != 0 {
		t.Errorf("%d frames left", n)
	}
}

func TestBroadcastThatDoesNotGetSmaller(t *testing.T) {
	noise := make([]byte, 2000)
	for i, x := 0, uint32(1); i < len(noise); i++ {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	before := netloop.LiveFrames()
	for _, p := range []Payload{{Data: noise, Binary: true}, {Data: []byte(`{"a":1}`)}} {
		b, err := newBroadcast("room:1", "msg", p)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // that it is in vain is known the second time
			if b.frameFor(deflating(t, wire.V2, offer)) != b.v2 {
				t.Errorf("%d bytes are compressed in vain", len(p.Data))
			}
		}
		if f := b.frameFor(deflating(t, wire.V1, offer)); p.Binary && f != nil {
			t.Error("version 1 gets bytes")
		}
		b.Release()
	}
	if n := netloop.LiveFrames() - before; n != 0 {
		t.Errorf("%d frames left", n)
	}
}

// BenchmarkBroadcastFrames is what making the frame of a broadcast costs, and
// finding it for each of the sockets, without sending it.
func BenchmarkBroadcastFrames(b *testing.B) {
	for _, size := range []int{600, 4000} {
		for _, offer := range []string{"none", offer} {
			for _, sockets := range []int{1, 1000} {
				b.Run(fmt.Sprintf("%d bytes/%.18s/%d sockets", size, offer, sockets), func(b *testing.B) {
					p, s := longPayload(size), deflating(b, wire.V2, offer)
					b.ReportAllocs()
					for b.Loop() {
						m, err := newBroadcast("room:1", "msg", p)
						if err != nil {
							b.Fatal(err)
						}
						for range sockets {
							m.frameFor(s)
						}
						m.Release()
					}
				})
			}
		}
	}
}
