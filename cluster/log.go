package cluster

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/mycelium-rt/mycelium/pubsub"
)

// ErrBusy is returned by [Node.Append] while more waits to be sent than may be
// kept, because the transport does not take it. The caller may try again later.
// It is [pubsub.ErrBusy].
var ErrBusy = pubsub.ErrBusy

// ErrClosed is returned by a node that has been closed.
var ErrClosed = errors.New("cluster: the node is closed")

// ErrTooLarge is returned by [Node.Append] for an entry of more than 64 MiB, and
// by [Node.Send] for a message that does not fit into a packet.
var ErrTooLarge = errors.New("cluster: larger than an entry (64 MiB) or a packet may be")

// ownLog is this node's log: the entries that are kept, of which those from
// unsent on are not sent yet. first ≤ unsent ≤ first+len(kept).
type ownLog struct {
	limits Limits // static
	first  uint64 // the number of kept[0]; the first entry of a log has number 1
	unsent uint64
	kept   []keptEntry
	bytes  int // of kept
	wait   int // of those from unsent on
}

type keptEntry struct {
	entry entry
	at    time.Duration // when it was sent; until then, when it was appended
}

func newOwnLog(l Limits) ownLog { return ownLog{limits: l, first: 1, unsent: 1} }

// head returns the number of the last entry, 0 if there was none.
func (l *ownLog) head() uint64 { return l.first + uint64(len(l.kept)) - 1 }

// append adds an entry, which the log takes over.
func (l *ownLog) append(now time.Duration, e entry) {
	l.kept = append(l.kept, keptEntry{e, now})
	l.bytes += len(e)
	l.wait += len(e)
}

// trim drops entries that have been sent and are too old or too many to keep.
func (l *ownLog) trim(now time.Duration) {
	n := 0
	for l.first+uint64(n) < l.unsent && (l.bytes > l.limits.Keep || now-l.kept[n].at > keepFor) {
		l.bytes -= len(l.kept[n].entry)
		l.kept[n] = keptEntry{}
		n++
	}
	l.kept, l.first = l.kept[n:], l.first+uint64(n)
	if len(l.kept) == 0 {
		l.kept = nil // frees the backing array
	}
}

// keeps reports whether entry n can be sent again.
func (l *ownLog) keeps(n uint64) bool { return n >= l.first && n <= l.head() }

// appendBatch appends the entries from number from to number to, as many as fit
// into a packet but at least one. next is the number after the last.
func (l *ownLog) appendBatch(b []byte, from, to uint64) (batch []byte, next uint64) {
	b = binary.AppendUvarint(b, from)
	for next = from; next <= to && l.keeps(next); next++ {
		e := l.kept[next-l.first].entry
		if next > from && len(b)+len(e)+binary.MaxVarintLen64 > l.limits.Packet {
			break
		}
		b = binary.AppendUvarint(b, uint64(len(e)))
		b = append(b, e...)
	}
	return b, next
}

// sent notes that everything before next was sent. Entries are kept from then on: what has waited for the transport
// for long may have to be sent again to a node that is reached later.
func (l *ownLog) sent(now time.Duration, next uint64) {
	for ; l.unsent < next; l.unsent++ {
		k := &l.kept[l.unsent-l.first]
		l.wait -= len(k.entry)
		k.at = now
	}
}
