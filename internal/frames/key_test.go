package frames

import (
	"sync"
	"testing"

	"github.com/mycelium-rt/mycelium/wire"
)

type numbered struct {
	wire.V2
	n int
}

type uncomparable struct {
	wire.V2
	_ []byte
}

func TestEncodingOf(t *testing.T) {
	if e := encodingOf(t, wire.V2{}); e != (Key{}).Encoding {
		t.Errorf("version 2 has the number %d", e)
	}
	count := encodings.count
	t.Cleanup(func() {
		clear(encodings.serializers[count:])
		encodings.count = count
	})
	var wg sync.WaitGroup
	got := make([]Encoding, 64)
	for i := range got {
		wg.Go(func() { got[i], _ = EncodingOf(numbered{n: i % 4}) })
	}
	wg.Wait()
	for i, e := range got {
		if e != got[i%4] || e.Serializer() != wire.Serializer(numbered{n: i % 4}) {
			t.Errorf("serializer %d has the number %d, which is that of %v", i%4, e, e.Serializer())
		}
	}
	if encodings.count != count+4 {
		t.Errorf("%d numbers for four serializers", encodings.count-count)
	}
	for i := range len(encodings.serializers) {
		if _, err := EncodingOf(numbered{n: i}); (err == nil) != (i < len(encodings.serializers)-count) {
			t.Fatalf("serializer %d: %v", i, err)
		}
	}
	for _, s := range []wire.Serializer{nil, uncomparable{}} {
		if _, err := EncodingOf(s); err == nil {
			t.Errorf("%T has a number", s)
		}
	}
}
