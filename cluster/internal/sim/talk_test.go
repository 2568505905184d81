package sim

import (
	"encoding/binary"

	"github.com/mycelium-rt/mycelium/cluster"
)

// talk is a model of broadcasts. They are numbered, and some are long. A node
// must get each of a peer's broadcasts once and in order, and be told how many
// are missing.
type talk struct {
	town *town
	host *Host
	life *Life
	said uint64
	of   map[*cluster.Peer]*heard
}

type heard struct {
	last   uint64
	missed uint64 // counted from the numbers
	lost   uint64 // as reported, of all kinds
}

func newTalk(t *town, h *Host) *talk { return &talk{town: t, host: h, of: map[*cluster.Peer]*heard{}} }

// say broadcasts a message with size bytes of filler.
func (k *talk) say(size int) {
	body := append(binary.AppendUvarint(nil, k.said+1), make([]byte, size)...)
	if _, err := k.life.Node.Append(cluster.TypeBroadcast, body); err == nil {
		k.said++
	}
}

// Apply implements cluster.Kind.
func (k *talk) Apply(p *cluster.Peer, _ byte, body []byte) {
	n, _ := binary.Uvarint(body)
	h := k.heard(p)
	if n <= h.last {
		k.town.fail("%s gets message %d of %s after message %d", k.host.Name, n, p.Name(), h.last)
	}
	if h.last > 0 {
		h.missed += n - h.last - 1
	}
	h.last = n
	k.town.heard++
	if h.missed > h.lost {
		k.town.fail("%s misses %d messages of %s, but was told of %d", k.host.Name, h.missed, p.Name(), h.lost)
	}
}

// Lost implements cluster.Kind. It is called before the entries after the loss are
// applied.
func (k *talk) Lost(p *cluster.Peer, n uint64) { k.heard(p).lost += n }

// Up implements cluster.Kind.
func (k *talk) Up(*cluster.Peer) {}

// Down implements cluster.Kind.
func (k *talk) Down(*cluster.Peer) {}

// Gone implements cluster.Kind.
func (k *talk) Gone(p *cluster.Peer) { delete(k.of, p) }

func (k *talk) heard(p *cluster.Peer) *heard {
	if k.of[p] == nil {
		k.of[p] = &heard{}
	}
	return k.of[p]
}
