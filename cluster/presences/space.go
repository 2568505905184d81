package presences

import (
	"github.com/mycelium-rt/mycelium/cluster"
	"github.com/mycelium-rt/mycelium/internal/records"
	"github.com/mycelium-rt/mycelium/presence"
)

// Space returns the replicator of a space. A space has one tracker at a time: a
// second one gets no presences of other nodes until the first is closed. This
// happens when an instance restarts, whose next life is made before the last
// one ends.
func (k *Kind) Space(name string) presence.Replicator {
	return &space{kind: k, name: name}
}

type space struct {
	kind *Kind
	name string
}

// Open implements presence.Replicator.
func (s *space) Open(t *presence.Tracker) (node uint16, err error) { return s.kind.open(s.name, t) }

// Close implements presence.Replicator.
func (s *space) Close(t *presence.Tracker) { s.kind.close(s.name, t) }

// Join implements presence.Replicator.
func (s *space) Join(topic, key, meta string) { s.append(cluster.TypeJoin, topic, key, meta) }

// Leave implements presence.Replicator.
func (s *space) Leave(topic, key, ref string) { s.append(cluster.TypeLeave, topic, key, ref) }

func (s *space) append(typ byte, topic, key, rest string) {
	var buf [256]byte
	b := records.AppendText(records.AppendText(records.AppendText(buf[:0], s.name), topic), key)
	// It fails only if the node is closed, which the others know by then.
	_, _ = s.kind.node.Load().AppendState(typ, append(b, rest...))
}
