package frames

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/wire"
)

// Every key gets a frame of its own, once, whoever asks first.
func TestSetMakesEachFrameOnce(t *testing.T) {
	noFramesLeft(t)
	before := netloop.LiveFrames()
	keys := []Key{
		keyOf(t, wire.V1{}, "none"), keyOf(t, wire.V2{}, "none"), keyOf(t, wire.V1{}, offer), keyOf(t, wire.V2{}, offer),
		{Encoding: encodingOf(t, wire.V1{}), Framing: LongPoll}, {Framing: LongPoll},
	}
	s := encoded(t, "room:1", "msg", object(1000))
	defer s.Release()
	if n := netloop.LiveFrames() - before; n != 1 {
		t.Errorf("%d frames before anybody has asked, want that of the common key", n)
	}
	var wg sync.WaitGroup
	got := make([]*netloop.Frame, 16*len(keys))
	for i := range got {
		wg.Go(func() { got[i] = s.Frame(keys[i%len(keys)]) })
	}
	wg.Wait()
	for i, f := range got {
		if f == nil || f != got[i%len(keys)] {
			t.Fatalf("socket %d has a frame of its own", i)
		}
		if at := slices.Index(got[:len(keys)], f); at != i%len(keys) {
			t.Fatalf("the frame of key %v is that of %v", keys[i%len(keys)], keys[at])
		}
	}
	if n := netloop.LiveFrames() - before; n != int64(len(keys)) {
		t.Errorf("%d frames of %d keys", n, len(keys))
	}
	if plain, deflated := s.Frame(Key{}), got[3]; len(deflated.Bytes()) >= len(plain.Bytes())/2 {
		t.Errorf("%d bytes plain, %d compressed", len(plain.Bytes()), len(deflated.Bytes()))
	}
	// A window of 512 bytes is too small for this message.
	if s.Frame(keyOf(t, wire.V2{}, "permessage-deflate; server_max_window_bits=9")) != s.Frame(Key{}) {
		t.Error("a message is compressed for a window that is smaller than it")
	}
}

func TestSetContent(t *testing.T) {
	noFramesLeft(t)
	p := object(1000)
	body := string(p.Data)
	s := encoded(t, "room:1", "msg", p)
	defer s.Release()
	clear(p.Data) // the set has its own copy
	v1 := `{"event":"msg","payload":` + body + `,"ref":null,"topic":"room:1"}`
	v2 := `[null,null,"room:1","msg",` + body + `]`
	for _, offer := range []string{"none", offer} {
		for want, k := range map[string]Key{v1: keyOf(t, wire.V1{}, offer), v2: keyOf(t, wire.V2{}, offer)} {
			if got := readAll(t, s.Frame(k)); len(got) != 1 || got[0] != want {
				t.Errorf("%s: got %q, want %s", offer, got, want)
			}
		}
	}
	if got := readStrings(t, s.Frame(Key{Framing: LongPoll}), s.Frame(Key{Encoding: encodingOf(t, wire.V1{}), Framing: LongPoll})); got[0] != v2 || got[1] != v1 {
		t.Errorf("long polling: %q", got)
	}
	if string(s.Payload.Data) != body || s.Payload.Binary {
		t.Errorf("payload %s", s.Payload.Data)
	}
}

// What a serializer or a framing cannot carry is left out for its sockets alone.
func TestSetOfBytes(t *testing.T) {
	noFramesLeft(t)
	data := noise(2000)
	s := encoded(t, "room:1", "msg", wire.Payload{Data: data, Binary: true})
	defer s.Release()
	for range 2 { // that it cannot be sent, or is compressed in vain, is known the second time
		for name, k := range map[string]Key{
			"version 1": keyOf(t, wire.V1{}, offer), "version 1, polling": {Encoding: encodingOf(t, wire.V1{}), Framing: LongPoll},
			"version 2, polling": {Framing: LongPoll},
		} {
			if s.Frame(k) != nil {
				t.Errorf("%s gets bytes", name)
			}
		}
		if s.Frame(keyOf(t, wire.V2{}, offer)) != s.Frame(Key{}) {
			t.Error("noise is compressed in vain")
		}
	}
	if want := "\x02\x06\x03room:1msg" + string(data); readAll(t, s.Frame(Key{}))[0] != want {
		t.Error("the message of bytes is wrong")
	}
	if p := s.Payload; !p.Binary || !bytes.Equal(p.Data, data) {
		t.Error("the payload is wrong")
	}
	if err := new(Set).Encode("room:1", "msg", wire.Payload{Data: []byte("[]")}); err != wire.ErrNotObject {
		t.Errorf("a list: %v", err)
	}
}

// A set that is used again has nothing of the event before.
func TestSetIsUsedAgain(t *testing.T) {
	noFramesLeft(t)
	s := encoded(t, "room:1", "first", object(1000))
	s.Weigh()
	s.Frame(keyOf(t, wire.V1{}, offer))
	s.Release()
	if err := s.Encode("room:2", "second", object(10)); err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	f := s.Frame(keyOf(t, wire.V1{}, offer))
	if got := readAll(t, f)[0]; got != `{"event":"second","payload":{"body":"again and "},"ref":null,"topic":"room:2"}` {
		t.Errorf("got %s", got)
	}
	if cost := f.Cost(8); cost != len(f.Bytes()) {
		t.Errorf("a frame of %d bytes costs %d", len(f.Bytes()), cost)
	}
}

// Frames of a set that is weighed count a quarter of the limit at most.
func TestWeigh(t *testing.T) {
	noFramesLeft(t)
	s := encoded(t, "room:1", "diff", object(1000))
	defer s.Release()
	s.Weigh()
	for _, k := range []Key{{}, keyOf(t, wire.V2{}, offer), keyOf(t, wire.V1{}, "none"), {Framing: LongPoll}} {
		if cost := s.Frame(k).Cost(100); cost != 25 {
			t.Errorf("%v costs %d of 100", k, cost)
		}
	}
}

// Whatever is handed out, in the end each frame has the references that were taken, and
// that of the set.
func TestFanout(t *testing.T) {
	noFramesLeft(t)
	keys := []Key{{}, keyOf(t, wire.V1{}, "none"), keyOf(t, wire.V2{}, offer), keyOf(t, wire.V1{}, offer), {Framing: LongPoll}}
	for name, p := range map[string]wire.Payload{"text": object(1000), "bytes": {Data: noise(1000), Binary: true}} {
		for n := range len(keys) + 1 {
			t.Run(fmt.Sprint(name, n), func(t *testing.T) {
				noFramesLeft(t)
				s := encoded(t, "room:1", "msg", p)
				var fan Fanout
				fan.Begin(s, 100)
				var taken []*netloop.Frame
				for i := range 50 { // the others get none
					if n == 0 {
						break
					}
					k := keys[i%n]
					f := fan.TakeFrame(k)
					if f != s.Frame(k) {
						t.Fatalf("%v gets another frame than the set's", k)
					}
					if f != nil {
						taken = append(taken, f)
					}
				}
				fan.Done()
				Release(taken)
				s.Release()
			})
		}
	}
}

// BenchmarkBroadcastFrames is what making the frame of a broadcast costs, and
// finding it for each of the sockets, without sending it.
func BenchmarkBroadcastFrames(b *testing.B) {
	for _, size := range []int{600, 4000} {
		for _, offer := range []string{"none", offer} {
			for _, sockets := range []int{1, 1000} {
				b.Run(fmt.Sprintf("%d bytes/%.18s/%d sockets", size, offer, sockets), func(b *testing.B) {
					p, k := object(size), keyOf(b, wire.V2{}, offer)
					var s Set
					b.ReportAllocs()
					for b.Loop() {
						if err := s.Encode("room:1", "msg", p); err != nil {
							b.Fatal(err)
						}
						var fan Fanout
						fan.Begin(&s, sockets)
						for range sockets {
							fan.TakeFrame(k).Release()
						}
						fan.Done()
						s.Release()
					}
				})
			}
		}
	}
}
