package cluster

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"sync"
)

// Observe listens to the heartbeats of a cluster until ctx ends, without joining it, and
// calls each for every heartbeat. each is not called after Observe has returned. The
// caller closes t.
func Observe(ctx context.Context, t Transport, each func(PeerInfo)) error {
	var b [8]byte
	rand.Read(b[:])
	var mu sync.Mutex
	ended := false
	err := t.Open(LogID(binary.BigEndian.Uint64(b[:])), func(data []byte) {
		pk, err := parsePacket(data)
		if err != nil || pk.kind != packetHeartbeat {
			return
		}
		h, err := parseHeartbeat(pk.body)
		if err != nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if !ended {
			each(PeerInfo{Log: pk.log, Name: h.name, Address: h.address, Info: h.info, Left: h.leaving})
		}
	})
	if err != nil {
		return err
	}
	<-ctx.Done()
	mu.Lock()
	defer mu.Unlock()
	ended = true
	return nil
}
