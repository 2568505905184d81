package presence

import (
	"encoding/base64"
	"encoding/binary"
	"sync"
	"time"
)

// refSource makes phx_refs: 12 bytes as 16 characters of URL base64, with 8 bytes of nanoseconds, 2 of the node and 2
// of a counter, as in Phoenix. They are unique on the node whatever its clock does: their time never goes back, and
// advances by itself if the counter wraps within a nanosecond.
type refSource struct {
	// Static after New.
	node uint16
	now  func() time.Time

	mu      sync.Mutex
	last    uint64 // nanoseconds, guarded by mu
	counter uint16 // guarded by mu
}

func (r *refSource) next() [refSize]byte {
	r.mu.Lock()
	if now := uint64(r.now().UnixNano()); now > r.last {
		r.last = now
	}
	r.counter++
	if r.counter == 0 {
		r.last++
	}
	last, counter := r.last, r.counter
	r.mu.Unlock()

	var raw [12]byte
	binary.BigEndian.PutUint64(raw[:], last)
	binary.BigEndian.PutUint16(raw[8:], r.node)
	binary.BigEndian.PutUint16(raw[10:], counter)
	var ref [refSize]byte
	base64.URLEncoding.Encode(ref[:], raw[:])
	return ref
}
