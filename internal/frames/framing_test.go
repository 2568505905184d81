package frames

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/prepared"
	"github.com/mycelium-rt/mycelium/wire"
)

// prefixed is a framing for a stream of bytes: before each message its length, of which
// the highest bit says that it is binary.
type prefixed struct{}

func (prefixed) Room() int      { return 4 }
func (prefixed) TextOnly() bool { return false }

func (prefixed) Finish(f *netloop.Frame, buf []byte, isBinary bool) *netloop.Frame {
	n := uint32(len(buf) - 4)
	if isBinary {
		n |= 1 << 31
	}
	binary.BigEndian.PutUint32(buf, n)
	f.SetBytes(buf)
	return f
}

func readPrefixed(t *testing.T, f *netloop.Frame) (message string, isBinary bool) {
	t.Helper()
	data := f.AppendTo(nil)
	n := binary.BigEndian.Uint32(data)
	if len(data) != 4+int(n&^(1<<31)) {
		t.Fatalf("%d bytes behind the length %x", len(data)-4, n)
	}
	return string(data[4:]), n>>31 == 1
}

// TestNewFraming: a framing is its Framer and a line in the table. It has all kinds of
// messages, without compression and shared parts, which it does not offer.
func TestNewFraming(t *testing.T) {
	noFramesLeft(t)
	table := framings
	t.Cleanup(func() { framings = table })
	framings = slices.Concat(table, []framing{newFraming(prefixed{})})
	k := Key{Framing: Framing(len(table))}

	for name, p := range map[string]wire.Payload{
		`[null,null,"room:1","msg",` + string(object(1000).Data) + `]`: object(1000),
		"\x02\x06\x03room:1msg\x01\x02":                                {Data: []byte{1, 2}, Binary: true},
	} {
		s := encoded(t, "room:1", "msg", p)
		if got, isBinary := readPrefixed(t, s.Frame(k)); got != name || isBinary != p.Binary {
			t.Errorf("broadcast %q, binary %t", got, isBinary)
		}
		s.Release()
	}
	push, err := k.Push(wire.Ref(`"1"`), "room:1", "pushed", object(10))
	if err != nil {
		t.Fatal(err)
	}
	reply, err := k.Reply(wire.Ref(`"1"`), wire.Ref(`"2"`), "room:1", "ok", object(10))
	if err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat("x", shareFrom)
	state, more, err := k.Series(wire.Ref(`"1"`), "room:1", []prepared.Message{message("state", `{"a":"`, large, `"}`), message("diff", `{"b":`, "1}")})
	if err != nil || len(more) != 1 {
		t.Fatalf("%d more frames: %v", len(more), err)
	}
	for want, f := range map[string]*netloop.Frame{
		`["1",null,"room:1","pushed",{"body":"again and "}]`:                              push,
		`["1","2","room:1","phx_reply",{"response":{"body":"again and "},"status":"ok"}]`: reply,
		`["1","1","room:1","phx_close",{}]`:                                               k.Control(wire.Ref(`"1"`), "room:1", "phx_close", []byte("{}")),
		`["1",null,"room:1","state",{"a":"` + large + `"}]`:                               state,
		`["1",null,"room:1","diff",{"b":1}]`:                                              more[0],
	} {
		if got, isBinary := readPrefixed(t, f); got != want || isBinary {
			t.Errorf("got %.200s\nwant %.200s", got, want)
		}
		f.Release()
	}
}
