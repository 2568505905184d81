package frames

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/prepared"
	"github.com/mycelium-rt/mycelium/wire"
)

func message(event string, parts ...string) prepared.Message {
	m := prepared.Message{Event: event}
	for _, part := range parts {
		m.Parts = append(m.Parts, prepared.NewPart([]byte(part)))
	}
	return m
}

// book is a payload of that many parts, of a KiB or so each.
func book(parts int) prepared.Message {
	texts := []string{`{"pages":["\"0\""`}
	for i := range parts {
		texts = append(texts, fmt.Sprintf(`,"%04d é\n %s"`, i, strings.Repeat("page", 250)))
	}
	return message(fmt.Sprint("book", parts), append(texts, "]}")...)
}

// plainV2 is a serializer that does not say what precedes a payload.
type plainV2 struct{ wire.Serializer }

// TestSeries: messages in parts, small and large, come whole and in order for every key, and
// frames share what is large.
func TestSeries(t *testing.T) {
	noFramesLeft(t)
	polling := func(s wire.Serializer) Key { return Key{Encoding: encodingOf(t, s), Framing: LongPoll} }
	keys := map[string]Key{
		"version 1": keyOf(t, wire.V1{}, "none"), "version 2": {}, "version 1, compressed": keyOf(t, wire.V1{}, offer),
		"version 2, compressed": keyOf(t, wire.V2{}, offer), "small window": keyOf(t, wire.V2{}, "permessage-deflate; server_max_window_bits=9"),
		"version 1, polling": polling(wire.V1{}), "version 2, polling": polling(wire.V2{}),
		"no head": keyOf(t, plainV2{wire.V2{}}, "none"), "no head, polling": polling(plainV2{wire.V2{}}),
	}
	for _, series := range [][]prepared.Message{{book(3)}, {book(200)}, {book(200), book(300), book(2)}, {book(2), book(100)}} {
		for name, k := range keys {
			t.Run(fmt.Sprint(name, len(series)), func(t *testing.T) {
				noFramesLeft(t)
				var want []string
				for i := range series {
					p := wire.Payload{Data: series[i].AppendPayload(nil)}
					m, _, err := k.Encoding.Serializer().AppendPush(nil, wire.Ref(`"7"`), "library:1", series[i].Event, p)
					if err != nil {
						t.Fatal(err)
					}
					want = append(want, string(m))
				}
				for range 2 { // parts that were compressed or quoted before
					checkSeries(t, k, series, want)
				}
			})
		}
	}
}

func checkSeries(t *testing.T, k Key, series []prepared.Message, want []string) {
	t.Helper()
	first, more, err := k.Series(wire.Ref(`"7"`), "library:1", series)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	cost, own, all := 0, 0, append([]*netloop.Frame{first}, more...)
	for _, f := range all {
		if k.Framing == LongPoll {
			got = append(got, readStrings(t, f)...)
		} else {
			got = append(got, readAll(t, f)...)
		}
		cost += f.Cost(4000)
		own += len(f.Bytes())
	}
	if len(got) != len(want) {
		t.Fatalf("%d messages, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("message %d of %d bytes is wrong: %.200s", i, len(got[i]), got[i])
		}
	}
	if _, shares := k.Encoding.Serializer().(wire.Enveloper); shares && own > shareFrom+1000 {
		t.Errorf("%d bytes are not shared", own)
	}
	if cost > 1000+len(more) {
		t.Errorf("the series costs %d of 4000", cost)
	}
	Release(all)
}
