package presence

import "github.com/mycelium-rt/mycelium/internal/prepared"

// maxPayload is the largest payload of a state or a diff in bytes, unless a single meta is larger. Larger ones are sent
// in several messages, a presence_state and then presence_diffs that join the rest, so that messages do not grow beyond
// the limits of proxies and clients. Clients merge these like any diff (assets/js/phoenix/presence.js, syncDiff): new
// metas of a known key are appended to those that they have.
const maxPayload = 256 << 10

// What a state begins and ends with: its first message, and those that complete it.
var (
	openState  = prepared.NewPart([]byte(`{`))
	closeState = prepared.NewPart([]byte(`}`))
	openJoins  = prepared.NewPart([]byte(`{"joins":{`))
	closeJoins = prepared.NewPart([]byte(`},"leaves":{}}`))
)

// noState is the state of an empty topic.
var noState = []prepared.Message{{Event: EventState, Parts: []*prepared.Part{openState, closeState}}}

// encoded returns the presence_state as of the last flush, {"key":{"metas":[…]},…}, as a series of messages in parts.
// Neither the lists nor their bytes ever change: they may be kept and sent without the lock. It is kept, for everyone who
// joins asks for it, and put together again once something has changed, which encodes the chunks that have changed.
func (tp *topic) encoded() []prepared.Message {
	if tp.state != nil {
		return tp.state.Series
	}
	s := series{most: tp.maxPayload}
	for c := tp.first; c != nil; c = c.next {
		if c.large > 0 {
			tp.weave(c, &s)
			continue
		}
		c.encode(tp)
		switch {
		case len(c.encoded) == 0:
		case len(c.encoded) <= s.room():
			s.add(c)
		default:
			tp.weave(c, &s)
		}
	}
	tp.state = &prepared.State{Series: s.finish()}
	if len(tp.state.Series) > 1 {
		tp.state.Whole = func() []byte { return tp.appendSide(nil, sent) }
	}
	return tp.state.Series
}

// series collects a state.
type series struct {
	most  int // bytes of a payload
	list  []prepared.Message
	parts []*prepared.Part // of the message that is open; nil: none is
	size  int              // of parts, with what closes them
}

// room returns how much one message can hold besides its envelope.
func (s *series) room() int { return s.most - len(openJoins.Text()) - len(closeJoins.Text()) }

// open makes sure that the open message has room for a number of bytes.
func (s *series) open(bytes int) {
	if s.parts != nil && s.size+bytes > s.most {
		s.close()
	}
	if s.parts != nil {
		return
	}
	opener, closer := openState, closeState
	if len(s.list) > 0 {
		opener, closer = openJoins, closeJoins
	}
	s.parts = append(s.parts, opener)
	s.size = len(opener.Text()) + len(closer.Text())
}

// isFirst reports whether the next entry is the first of its message.
func (s *series) isFirst() bool { return len(s.parts) == 1 }

func (s *series) add(c *chunk) {
	s.open(len(c.encoded))
	s.append(c.shared(s.isFirst()))
}

func (s *series) append(p *prepared.Part) {
	s.parts = append(s.parts, p)
	s.size += len(p.Text())
}

func (s *series) close() {
	event, closer := EventState, closeState
	if len(s.list) > 0 {
		event, closer = EventDiff, closeJoins
	}
	s.list = append(s.list, prepared.Message{Event: event, Parts: append(s.parts, closer)})
	s.parts = nil
}

// finish returns the series; a state without entries has one message.
func (s *series) finish() []prepared.Message {
	if s.parts == nil { // else open would close a message that one meta makes too large
		s.open(0)
	}
	s.close()
	return s.list
}

// entrySize returns the most bytes of an entry without its metas.
func (tp *topic) entrySize(e *entry) int {
	return 6*len(e.key) + len(`,"":{"metas":[]}`) + len(tp.members(e))
}

// diffWriter writes presence_diffs: what joined first and then what left, so that clients which get it in several messages never
// see a key go that only has other metas.
type diffWriter struct {
	tracker *Tracker
	stripe  *stripe
	topic   *topic
	most    int // bytes of a payload
	dst     []byte
	leaving bool
	entry   *entry // is open
	some    bool   // the message has a meta
	comma   bool   // the object that is open has an entry
}

const (
	diffJoins  = `{"joins":{`
	diffLeaves = `},"leaves":{`
	diffEnd    = `}}`
)

func (w *diffWriter) begin() {
	w.dst = append(w.dst[:0], diffJoins...)
	if w.leaving {
		w.dst = append(w.dst, diffLeaves...)
	}
	w.some, w.comma = false, false
}

// leave switches from joins to leaves.
func (w *diffWriter) leave() {
	w.closeEntry()
	w.leaving, w.comma = true, false
	w.dst = append(w.dst, diffLeaves...)
}

func (w *diffWriter) add(e *entry, meta string) {
	if w.some && len(w.dst)+len(w.members())+len(meta)+w.topic.entrySize(e)+len(diffLeaves)+len(diffEnd) > w.most {
		w.end()
		w.begin()
	}
	if w.entry != e {
		w.closeEntry()
	}
	w.dst = e.appendMeta(w.dst, meta, w.comma, w.entry == e)
	w.entry, w.some, w.comma = e, true, true
}

func (w *diffWriter) closeEntry() {
	w.dst = closeEntry(w.dst, w.entry != nil, w.members())
	w.entry = nil
}

// members are those that the open entry has behind its metas.
func (w *diffWriter) members() string {
	if w.entry == nil {
		return ""
	}
	return w.topic.members(w.entry)
}

// end sends the open message, if it is not empty.
func (w *diffWriter) end() {
	w.closeEntry()
	if !w.leaving {
		w.dst = append(w.dst, diffLeaves...)
	}
	if w.dst = append(w.dst, diffEnd...); w.some {
		w.tracker.broadcast(w.stripe, w.topic.name, w.dst)
	}
}

// writeDiff writes what makes the truth of what clients know. No two metas are equal, for each has a ref of its own: of a change
// current has joined and sent has left, an update being both, or there is neither.
func (tp *topic) writeDiff(w *diffWriter, told []changedEntry) {
	w.begin()
	tp.writeChanges(w, told, current)
	w.leave()
	tp.writeChanges(w, told, sent)
	w.end()
}

func (tp *topic) writeChanges(w *diffWriter, told []changedEntry, s side) {
	for i := range told {
		d := &told[i]
		for at := d.first; at != 0; at = tp.changes[at-1].next {
			if meta := s(tp, tp.changes[at-1].presence); meta != "" {
				w.add(d.entry, meta)
			}
		}
	}
}
