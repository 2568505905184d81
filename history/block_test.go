package history_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mycelium-rt/mycelium/history"
)

// TestSizes: messages of all sizes, which share blocks or are cut into two, are read as they
// were recorded, after others were dropped and erased too, and all memory is given back.
func TestSizes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		store := history.NewStore(history.Options{Memory: 64 << 20})
		defer store.Close()
		most := rapid.IntRange(1, 12).Draw(t, "messages")
		sp, err := store.Space("", []history.Rule{{Messages: most, Bytes: 1 << 30, Age: time.Hour}})
		if err != nil {
			t.Fatal(err)
		}
		var all []history.Message
		size := rapid.OneOf(rapid.IntRange(0, 300), rapid.IntRange(900, 5000), rapid.IntRange(30_000, 70_000))
		for i := range rapid.IntRange(1, 30).Draw(t, "steps") {
			m := history.Message{Event: "msg", Payload: bytes.Repeat([]byte{byte(i)}, size.Draw(t, "size"))}
			if rapid.IntRange(0, 9).Draw(t, "event") == 0 {
				m.Event = strings.Repeat("e", 3000)
			}
			if err := sp.Record("room", &m, func(bool) {}); err != nil {
				t.Fatal(err)
			}
			if all = append(all, m); len(all) > most {
				all = all[1:]
			}
			if which := rapid.IntRange(0, 4*len(all)).Draw(t, "erased"); which < len(all) {
				if found, err := sp.Erase("room", all[which].ID()); !found || err != nil {
					t.Fatalf("erased: %v, %v", found, err)
				}
				all = append(all[:which:which], all[which+1:]...)
			}
			got := sp.Page("room", history.Ask{}).Messages
			if len(got) != len(all) {
				t.Fatalf("%d messages, want %d", len(got), len(all))
			}
			for i := range got {
				if got[i].ID() != all[i].ID() || got[i].Event != all[i].Event || !bytes.Equal(got[i].Payload, all[i].Payload) {
					t.Fatalf("message %d of %d: %v of %d bytes, want %v of %d", i, len(got), got[i].ID(), len(got[i].Payload), all[i].ID(), len(all[i].Payload))
				}
			}
		}
		if n := sp.Size(); n.Messages != int64(len(all)) || n.Bytes != store.Stats().Bytes {
			t.Fatalf("%+v; the store counts %+v", n, store.Stats())
		}
		if err := sp.SetRules(nil); err != nil {
			t.Fatal(err)
		}
		if n := store.Stats(); n.Bytes != 0 || n.Messages != 0 {
			t.Fatalf("%+v is left", n)
		}
	})
}
