// Package revocations replicates the revoked tokens of package auth to all nodes of a
// cluster.
//
// A revocation is an entry of the log of the node that made it, and every node keeps all
// of them: merging what two nodes have is a union. A snapshot has everything that a node
// knows, so a node that joins later, or was cut off for long, has all revocations of the
// others before it is ready. What a node that is gone has made is told again by those
// that have it.
package revocations

import (
	"encoding/json"
	"iter"
	"sync/atomic"

	"github.com/mycelium-rt/mycelium/auth"
	"github.com/mycelium-rt/mycelium/cluster"
)

// Kind connects the revocations of a node with those of its peers.
type Kind struct {
	list      *auth.Revocations
	malformed atomic.Uint64
}

// nodeKind has the methods of a Kind that its node calls, and that programs must not.
type nodeKind Kind

var _ cluster.Heir = (*nodeKind)(nil)

// New returns a Kind for one node.
func New(list *auth.Revocations) *Kind { return &Kind{list: list} }

// Types returns the kind by the type of its entries, for cluster.Options.Kinds.
func (k *Kind) Types() map[byte]cluster.Kind {
	return map[byte]cluster.Kind{cluster.TypeRevoked: (*nodeKind)(k)}
}

// entryRevocations bounds the revocations of one entry, which is to fit into memory a few
// times.
const entryRevocations = 1000

// Start gives the kind its node, and tells its peers what this node has revoked before.
func (k *Kind) Start(n *cluster.Node) {
	k.list.Share(func(list []auth.SpacedRevocation) {
		for len(list) > 0 {
			some := list[:min(entryRevocations, len(list))]
			list = list[len(some):]
			n.AppendState(cluster.TypeRevoked, encode(some)) //nolint:errcheck // only a closed node fails
		}
	})
}

// Malformed returns the number of entries and snapshots that could not be read.
func (k *Kind) Malformed() uint64 { return k.malformed.Load() }

func encode(list []auth.SpacedRevocation) []byte {
	text, err := json.Marshal(list)
	if err != nil {
		panic(err) // texts and times can always be encoded
	}
	return text
}

// Apply implements cluster.Kind.
func (n *nodeKind) Apply(p *cluster.Peer, _ byte, entry []byte) {
	var list []auth.SpacedRevocation
	if json.Unmarshal(entry, &list) != nil {
		n.malformed.Add(1)
		return
	}
	n.list.Learn(uint64(p.Log()), list)
}

// Lost implements cluster.Kind. It is not called for a kind with snapshots.
func (n *nodeKind) Lost(*cluster.Peer, uint64) {}

// Up implements cluster.Kind.
func (n *nodeKind) Up(*cluster.Peer) {}

// Down implements cluster.Kind.
func (n *nodeKind) Down(*cluster.Peer) {}

// Gone implements cluster.Kind.
func (n *nodeKind) Gone(p *cluster.Peer) { n.list.Adopt(uint64(p.Log())) }

// Inherits implements cluster.Heir.
func (n *nodeKind) Inherits() {}

// Snapshot implements cluster.Snapshotter.
func (n *nodeKind) Snapshot(size int, yield func(part []byte)) {
	var part []byte
	for _, v := range n.list.All() {
		one := encode([]auth.SpacedRevocation{v})
		one = one[1 : len(one)-1] // without the brackets
		if len(part) > 0 && len(part)+len(one)+2 > size {
			yield(append(part, ']'))
			part = nil
		}
		if len(part) == 0 {
			part = append(part, '[')
		} else {
			part = append(part, ',')
		}
		part = append(part, one...)
	}
	if len(part) > 0 {
		yield(append(part, ']'))
	}
}

// Restore implements cluster.Snapshotter. Nothing that is known is forgotten: a
// revocation ends by time alone.
func (n *nodeKind) Restore(p *cluster.Peer, parts iter.Seq[[]byte], tail iter.Seq2[byte, []byte]) {
	for part := range parts {
		n.Apply(p, cluster.TypeRevoked, part)
	}
	for typ, entry := range tail {
		n.Apply(p, typ, entry)
	}
}
