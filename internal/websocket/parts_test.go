package websocket

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// What is put together of parts is one message to any receiver, and a part is the same in each.
func TestParts(t *testing.T) {
	random := make([]byte, 100_000)
	for i := range random {
		random[i] = byte(rand.IntN(256))
	}
	texts := []string{"{", strings.Repeat(`,"user:1":{"metas":[]}`, 2000), string(random), "", "}"}
	var parts [][]byte
	for _, text := range texts {
		z := CompressPart([]byte(text))
		if z == nil || !bytes.HasSuffix(z, flushed) {
			t.Fatalf("a part of %d bytes becomes %.20x", len(text), z)
		}
		parts = append(parts, z)
	}
	for _, head := range []string{`["1",null,"room:1","presence_state",`, "", strings.Repeat("x", MaxStored)} {
		message := make([]byte, StoredHead)
		PutStored(message, len(head))
		message = append(message, head...)
		for _, z := range parts {
			message = append(message, z...)
		}
		message = append(message, StoredEnd("]")...)
		// As a receiver does: RFC 7692, 7.2.2.
		got, err := io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(message), bytes.NewReader(flushed), bytes.NewReader([]byte{1, 0, 0, 0xff, 0xff}))))
		if want := head + strings.Join(texts, "") + "]"; err != nil || string(got) != want {
			t.Errorf("%d bytes behind a head of %d, want %d: %v", len(got), len(head), len(want), err)
		}
	}
}

// BenchmarkState is what a presence_state of 10,000 keys costs each who joins: it has changed a little since the last one.
// Whole, it is compressed anew; in parts, of 16 KiB, one of them is.
func BenchmarkState(b *testing.B) {
	var state []byte
	var parts [][]byte
	for i := range 10_000 {
		state = fmt.Appendf(state, `,"user:%d":{"metas":[{"phx_ref":"GM%014x","online_at":1700000000}]}`, i, rand.Uint64()>>8)
	}
	for rest := state; len(rest) > 0; rest = rest[min(len(rest), 16<<10):] {
		parts = append(parts, CompressPart(rest[:min(len(rest), 16<<10)]))
	}
	size := 0
	b.Run("whole", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c := Compress(OpText, state)
			size = len(c.Bytes())
			c.Release()
		}
		b.ReportMetric(float64(size)/float64(len(state)), "size")
	})
	b.Run("parts", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			parts[len(parts)-1] = CompressPart(state[len(state)-16<<10:])
			size = 0
			for _, z := range parts {
				size += len(z)
			}
		}
		b.ReportMetric(float64(size)/float64(len(state)), "size")
	})
}
