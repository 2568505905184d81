package main

import (
	"bytes"
	"slices"
)

// updateLog has the updates that make up a document. Their numbers, which only grow,
// tell which of them a client had been sent at some time.
type updateLog struct {
	entries []entry // by number
	last    uint64  // number of the newest entry, even if that was removed
	size    int     // bytes, with entryBytes for each entry
}

type entry struct {
	number uint64
	from   uint64 // the member's id, or 0 if it was in the file
	update []byte
}

func (l *updateLog) add(from uint64, update []byte) {
	l.last++
	l.entries = append(l.entries, entry{l.last, from, update})
	l.size += len(update) + entryBytes
}

// without returns the log without the entries from a member, and without those up to
// a number.
func (l *updateLog) without(from, number uint64) updateLog {
	rest := updateLog{last: l.last}
	for _, e := range l.entries {
		if e.from != from && e.number > number {
			rest.entries = append(rest.entries, e)
			rest.size += len(e.update) + entryBytes
		}
	}
	return rest
}

func (l *updateLog) has(update []byte) bool {
	return slices.ContainsFunc(l.entries, func(e entry) bool { return bytes.Equal(e.update, update) })
}
