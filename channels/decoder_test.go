package channels

import (
	"encoding/json"
	"testing"
)

type decodesItself struct{ data string }

func (d *decodesItself) UnmarshalJSON(data []byte) error { d.data = string(data); return nil }

// TestDecodeEmptyObject: decoding {} costs nothing for a struct. All other types get what
// encoding/json makes of it.
func TestDecodeEmptyObject(t *testing.T) {
	empty := Payload{Data: []byte("{}")}
	type params struct {
		Name string
		Own  decodesItself
		Next *params
	}
	decode := decoderFor[params]()
	if p, err := decode(empty); err != nil || p != (params{}) {
		t.Errorf("a struct: %v, %v", p, err)
	}
	if n := testing.AllocsPerRun(10, func() { decode(empty) }); n != 0 {
		t.Errorf("a struct costs %v allocations", n)
	}
	if p, err := decode(Payload{Data: []byte(`{"Name":"ada"}`)}); err != nil || p.Name != "ada" {
		t.Errorf("a struct with a field: %v, %v", p, err)
	}
	if _, err := decode(Payload{Data: []byte("{}"), Binary: true}); err == nil {
		t.Error("a struct of bytes")
	}
	if own, err := decoderFor[decodesItself]()(empty); err != nil || own.data != "{}" {
		t.Errorf("a type that decodes itself: %v, %v", own, err)
	}
	if m, err := decoderFor[map[string]int]()(empty); err != nil || m == nil {
		t.Errorf("a map: %v, %v", m, err)
	}
	if _, err := decoderFor[[]int]()(empty); err == nil {
		t.Error("a slice")
	}
	if p, err := decoderFor[*params]()(empty); err != nil || p == nil {
		t.Errorf("a pointer: %v, %v", p, err)
	}
	var _ json.Unmarshaler = (*decodesItself)(nil)
}
