package owners

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
)

// Keys of the store.
const (
	nodePrefix  = "node."
	ownerPrefix = "owner."
)

// nodeRecord is a lease: the value of "node.NAME".
type nodeRecord struct {
	// Life is drawn at random for each lease.
	Life string `json:"life"`
	// Address is where other nodes reach the node.
	Address string `json:"address,omitempty"`
	// Draining: it takes no more instances.
	Draining bool `json:"draining,omitempty"`
}

// ownerRecord is who owns an instance: the value of "owner.ID". If Node is empty, nobody
// does.
type ownerRecord struct {
	Node string `json:"node"`
	Life string `json:"life"`
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("owners: %v", err)) // plain structs can always be encoded
	}
	return b
}

// decode returns the zero value for what it cannot read: a lease or an owner that belongs
// to nobody.
func decode[T any](b []byte) (v T) {
	if json.Unmarshal(b, &v) != nil {
		var zero T
		return zero
	}
	return v
}

// score orders the candidates of an instance: the highest comes first (rendezvous
// hashing: when a node goes, only its own instances move).
func score(id, node string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(node))
	h.Write([]byte{0})
	h.Write([]byte(id))
	// The high bits of FNV hardly depend on the last bytes, so mix them (splitmix64).
	x := h.Sum64()
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
