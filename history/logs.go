package history

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// logs are a log of this process, and those of other processes whose messages its spaces
// have. A store has one logs for the spaces of this process alone and, in a cluster, one
// for the spaces that all nodes share.
type logs struct {
	// Static after construction.
	id LogID
	// publish sends an entry to the other nodes, which apply it with Store.Apply; nil:
	// nobody else has these spaces.
	publish func(parts ...[]byte) error
	// state sends an entry about anything else, which they apply with Store.ApplyState;
	// nil without publish.
	state func(entry []byte)

	// head is the number of the last message or erasure of this process. appending is held while a
	// number is given to a message that is published, because entries must be in the
	// order of their numbers. It is taken after a stripe's lock.
	head      atomic.Uint64
	appending sync.Mutex

	mu     sync.Mutex // taken after a stripe's lock and appending
	others []otherLog // guarded by mu
	tails  tails      // guarded by mu
	// Guarded by mu: a bounded number of logs that are no longer among others, and when
	// the last of them was removed, Unix seconds.
	forgotten []LogID
	horizon   int64
}

// otherLog is a log of another process, or of this one before it was restarted.
type otherLog struct {
	mark
	up   bool      // its process is heard, and sends its own messages to everybody
	ours bool      // it is the stream: positions have it even while it is empty
	over time.Time // when it was known to have ended; zero: it may go on
}

const (
	// keepLog is how long the number of a log is kept after the log has ended. Positions
	// older than that can no longer be understood.
	keepLog = 24 * time.Hour
	// maxForgotten bounds logs.forgotten.
	maxForgotten = 1024
)

// position returns the position of a client that has everything. The lock of its topic
// is held, so no message of that topic has a number without being in its ring.
func (l *logs) position(now time.Time) Position {
	p := Position{at: now.Unix(), marks: make(marks, 1, 4)}
	p.marks[0] = mark{l.id, l.head.Load()}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range l.others {
		if o.number > 0 || o.ours {
			p.marks = append(p.marks, o.mark)
		}
	}
	return p
}

// gap returns a position that is behind all earlier ones, for topics that begin to be recorded. In a log that others
// have, whose numbers are those of its messages, it is behind those that a message has followed.
func (l *logs) gap(now time.Time) marks {
	if l.publish == nil {
		l.head.Add(1)
	}
	return l.position(now).marks
}

// headOf returns the last number of another log; ok is false for an unknown one.
func (l *logs) headOf(log LogID) (head uint64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if o := l.find(log); o != nil {
		return o.number, true
	}
	return 0, false
}

// lacks reports whether messages up to a floor have never been here.
func (l *logs) lacks(floor marks) bool {
	return slices.ContainsFunc(floor, func(m mark) bool {
		head, _ := l.headOf(m.log)
		return m.log != l.id && m.number > head
	})
}

// ended reports whether another log is known to have ended.
func (l *logs) ended(log LogID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.find(log)
	return o != nil && !o.over.IsZero()
}

// isForgotten reports whether a log ended so long ago that positions have no number for it.
func (l *logs) isForgotten(log LogID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.forgotten, log)
}

// find returns another log, nil if it is unknown. The caller holds mu.
func (l *logs) find(log LogID) *otherLog {
	i := slices.IndexFunc(l.others, func(o otherLog) bool { return o.log == log })
	if i < 0 {
		return nil
	}
	return &l.others[i]
}

// raise notes that the messages of another log up to number are here.
func (l *logs) raise(log LogID, number uint64) {
	if log == l.id {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if o := l.find(log); o != nil {
		o.number = max(o.number, number)
		return
	}
	l.others = append(l.others, otherLog{mark: mark{log, number}})
}

// setUp notes whether the process of another log is heard, and when it has ended.
func (l *logs) setUp(log LogID, up bool, over time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if o := l.find(log); o != nil {
		o.up, o.over = up, over
	}
	if up {
		delete(l.tails, log)
	} else {
		l.tails.forgetNode(log)
	}
}

// bind adds the log of the stream, in place of that of an earlier one.
func (l *logs) bind(log, earlier LogID, now time.Time) {
	l.setUp(earlier, false, now)
	l.raise(log, 0)
	l.setUp(log, true, time.Time{})
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.others {
		l.others[i].ours = l.others[i].log == log
	}
}

// forgetOld removes logs that ended long ago.
func (l *logs) forgetOld(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.others = slices.DeleteFunc(l.others, func(o otherLog) bool {
		old := !o.over.IsZero() && now.Sub(o.over) > keepLog
		if old {
			delete(l.tails, o.log)
			l.forgotten = append(l.forgotten, o.log)
			l.horizon = now.Unix()
		}
		return old
	})
	if extra := len(l.forgotten) - maxForgotten; extra > 0 {
		l.forgotten = slices.Delete(l.forgotten, 0, extra)
	}
}

// had returns the logs that were forgotten before a position was made. The client has their
// messages, of which some may still be kept.
func (l *logs) had(p Position) []LogID {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.forgotten) == 0 || p.IsZero() || p.at < l.horizon {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(l.forgotten), p.marks.has)
}

// missing returns why a client with this position cannot be sent what it missed,
// apart from what rings have lost; wait is true if it may change soon.
func (l *logs) missing(p Position) (why Reason, wait bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.at < l.horizon {
		return Expired, false
	}
	for _, m := range p.marks {
		o := l.find(m.log)
		switch {
		case m.log == l.id:
			if m.number > l.head.Load() {
				return Unknown, false
			}
		case o == nil && slices.Contains(l.forgotten, m.log):
		case o == nil:
			why, wait = Unknown, wait || l.publish != nil
		case m.number > o.number && o.up:
			why, wait = Unknown, true
		case m.number > o.number:
			why, wait = NodeLost, wait || l.tails.most(m.log) > o.number
		}
	}
	return why, wait
}

// published returns the number of the last message or erasure of this process whose entry was appended. head may be
// one less for a moment.
func (l *logs) published() uint64 {
	l.appending.Lock()
	defer l.appending.Unlock()
	return l.head.Load()
}

// number gives a message the next number of this process's log, and publishes it
// where the space is shared.
func (l *logs) number(space, topic string, m *Message) error {
	m.Log = l.id
	if l.publish == nil {
		m.Number = l.head.Add(1)
		return nil
	}
	l.appending.Lock()
	defer l.appending.Unlock()
	m.Number = l.head.Load() + 1
	if err := l.publish(entryHead(space, topic, m), []byte(m.Event), m.Payload); err != nil {
		return err
	}
	l.head.Store(m.Number)
	return nil
}

var errNotShared = errors.New("history: the store is not shared with other nodes")
