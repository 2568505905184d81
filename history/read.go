package history

import (
	"cmp"
	"slices"
	"time"
)

// Ask says which messages of a topic are wanted. Of After, Since and Last, only the
// first that is set counts; if none is, all messages are wanted.
type Ask struct {
	// After is the position of a client that wants what it missed.
	After Position
	// Unknown says that the client has a position that cannot be understood.
	Unknown bool
	// Since is a time; zero: not set.
	Since time.Time
	// Last is how many of the last messages are wanted; negative: none.
	Last int
	// Limit is the largest number of messages that are wanted: the last ones. 0: all.
	Limit int
	// Without leaves out the messages that this sender has broadcast to all
	// others; 0: none.
	Without uint64

	// PageBytes and PageMessages bound a page; the rest is read after
	// Page.Next. A page has at least one message, if there is any. 0: no bound.
	PageBytes, PageMessages int

	// had are logs that After has no number for although its client has their messages.
	had []LogID
}

// Reason is why a client is not sent all that it missed.
type Reason string

// Reasons.
const (
	// Expired means that messages have been dropped: there were too many, they
	// were too old, or memory was short.
	Expired Reason = "expired"
	// Limited means that there were more than Ask.Limit.
	Limited Reason = "limit"
	// Unknown means that the position is not of this history: either the history was
	// lost, or the position was made up.
	Unknown Reason = "unknown"
	// NodeLost means that a node has died and some of its last messages may
	// never have left it.
	NodeLost Reason = "node_lost"
)

// Page has some of the messages that were asked for, oldest first.
type Page struct {
	// Messages share memory with the history; their payloads must not be modified.
	Messages []Message
	// Found counts the messages of this page and all further ones.
	Found int
	// Missing is why messages are missing before the first; "" if none are.
	Missing Reason
	// Wait reports whether the client has messages that this node does not have yet; in
	// a moment it may know what is missing.
	Wait bool
	// More reports whether there are further pages.
	More bool
	// Next is the position after the last message of the page; after the last
	// page it includes messages of other topics.
	Next Position
}

// Read calls read with the messages of a topic that are asked for, under the lock
// of the topic: whatever is recorded later is delivered after read has returned.
// read must not block.
func (sp *Space) Read(topic string, ask Ask, read func(p Page)) {
	st := sp.stripe(topic)
	sp.lock(st)
	defer st.mu.Unlock()
	read(sp.page(st, topic, &ask))
}

// Page returns the messages of a topic that are asked for.
func (sp *Space) Page(topic string, ask Ask) (p Page) {
	sp.Read(topic, ask, func(page Page) { p = page })
	return p
}

// Since returns the messages of a topic after a position, at most limit of them
// if that is not 0: the first ones, with Page.More for the rest.
func (sp *Space) Since(topic string, after Position, limit int) Page {
	ask := Ask{After: after, PageMessages: limit}
	return sp.Page(topic, ask)
}

// Last returns the last n messages of a topic.
func (sp *Space) Last(topic string, n int) []Message {
	if n <= 0 {
		return nil
	}
	return sp.Page(topic, Ask{Last: n}).Messages
}

// page reads a page. The stripe's lock is held.
func (sp *Space) page(st *stripe, topic string, ask *Ask) (p Page) {
	rule, r := sp.rules.Load().of(topic), st.rings[topic]
	if rule == nil {
		p.Next = sp.position()
		p.Missing, p.Wait = ask.missing(sp.logs.Load(), nil, 0)
		return p
	}
	var floor marks
	var lost int64
	if r != nil {
		r.follow(rule)
		sp.expire(r, sp.store.now())
		floor, lost = r.floor, r.lost
	} else {
		floor, lost = rule.forgotten()
		r = &ring{rule: rule}
	}
	if rule.Durable && !ask.After.IsZero() {
		p.Missing, p.Wait = sp.store.stream.missing(ask.After, floor)
	} else {
		p.Missing, p.Wait = ask.missing(sp.logs.Load(), floor, lost)
		p.Wait = p.Wait || rule.Durable && !sp.store.stream.loaded.Load()
	}
	ask.had = sp.logs.Load().had(ask.After)
	found := 0
	for k := range r.all {
		if ask.wants(k) {
			found++
		}
	}
	skip := ask.surplus(found, &p)
	p.Found = found - skip
	p.Next.at = sp.store.now().Unix()
	p.Next.marks = append(p.Next.marks, ask.After.marks...)
	p.Next.marks.raiseAll(floor)
	if p.Found > 0 {
		sp.collect(r, ask, skip, &p)
	}
	if !p.More {
		p.Next = sp.position()
		for i := range p.Next.marks { // the client may have more of a log than this node has yet
			m := &p.Next.marks[i]
			if more := ask.After.marks.of(m.log); more > m.number && !sp.logs.Load().ended(m.log) {
				m.number = more
			}
		}
	}
	return p
}

// collect adds the messages to a page, as many as fit.
func (sp *Space) collect(r *ring, ask *Ask, skip int, p *Page) {
	bytes := 0
	p.Messages = make([]Message, 0, min(p.Found, cmp.Or(ask.PageMessages, 256)))
	event := ""
	for k := range r.all {
		if ask.wants(k) {
			if skip--; skip < 0 {
				size := len(k.data) + len(k.rest) + len(k.event)
				n := len(p.Messages)
				if n > 0 && (ask.PageBytes > 0 && bytes+size > ask.PageBytes || ask.PageMessages > 0 && n == ask.PageMessages) {
					p.More = true
					return
				}
				bytes += size
				if event != string(k.event) {
					event = string(k.event)
				}
				p.Messages = append(p.Messages, k.message(event))
			}
		}
		p.Next.marks.raise(k.log, k.number)
	}
}

// wants reports whether a message is asked for.
func (a *Ask) wants(k kept) bool {
	switch {
	case a.Without != 0 && k.sender == a.Without, a.Last < 0:
		return false
	case !a.After.IsZero():
		return k.number > a.After.marks.of(k.log) && !slices.Contains(a.had, k.log)
	case !a.Since.IsZero():
		return k.ms >= a.Since.UnixMilli()
	}
	return true
}

// surplus returns how many of the messages found are left out because fewer are
// wanted.
func (a *Ask) surplus(found int, p *Page) (skip int) {
	if a.After.IsZero() && a.Since.IsZero() && a.Last > 0 {
		skip = max(0, found-a.Last)
	}
	if a.Limit > 0 && found-skip > a.Limit {
		skip = found - a.Limit
		if p.Missing == "" {
			p.Missing = Limited
		}
	}
	return skip
}

// missing returns why some of the messages asked for are missing; wait is true if that
// may change soon.
func (a *Ask) missing(l *logs, floor marks, lost int64) (why Reason, wait bool) {
	switch {
	case a.Unknown:
		return Unknown, false
	case !a.After.IsZero():
		if why, wait = l.missing(a.After); why != "" {
			return why, wait
		}
		for _, f := range floor {
			if a.After.marks.of(f.log) < f.number && !l.isForgotten(f.log) {
				return Expired, false
			}
		}
	case !a.Since.IsZero() && lost >= a.Since.UnixMilli():
		return Expired, false
	}
	return "", false
}
