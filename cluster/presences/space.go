package presences

import (
	"encoding/binary"

	"github.com/mycelium-rt/mycelium/cluster"
	"github.com/mycelium-rt/mycelium/presence"
)

// Space returns the replicator of a space. A space has one tracker at a time: a second
// one has nobody of other nodes until the first is closed, as the next life of an instance, which is
// made before the last one ends.
func (k *Kind) Space(name string) presence.Replicator {
	return &space{kind: k, name: name}
}

type space struct {
	kind *Kind
	name string
}

// Open is presence.Replicator's.
func (s *space) Open(t *presence.Tracker) (node uint16, err error) { return s.kind.open(s.name, t) }

// Close is presence.Replicator's.
func (s *space) Close(t *presence.Tracker) { s.kind.close(s.name, t) }

// Join is presence.Replicator's.
func (s *space) Join(topic, key, meta string) { s.append(cluster.TypeJoin, topic, key, meta) }

// Leave is presence.Replicator's.
func (s *space) Leave(topic, key, ref string) { s.append(cluster.TypeLeave, topic, key, ref) }

func (s *space) append(typ byte, topic, key, rest string) {
	var buf [256]byte
	b := appendText(appendText(appendText(buf[:0], s.name), topic), key)
	// It fails when the node is closed, which the others know by then.
	_, _ = s.kind.node.Load().AppendState(typ, append(b, rest...))
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}
