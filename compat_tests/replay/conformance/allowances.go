package conformance

import (
	"mime"
	"strings"
)

// allowLeaveDiffs implements rule 2: a client may or may not get the presence_diff about
// the end of its own channel, once for each channel that ended.
func (p *plan) allowLeaveDiffs() {
	type channel struct {
		client int
		topic  string
	}
	since := map[channel]*item{} // the first end of a channel
	ends, recorded := map[channel]int{}, map[channel]int{}
	p.eachMessage(func(_ *block, it *item) {
		if it.isMessage() && it.msg.endsChannel() {
			c := channel{it.client, it.msg.topic}
			if since[c] == nil {
				since[c] = it
			}
			ends[c]++
		}
	})
	p.removeItems(func(it *item) bool {
		c := channel{it.client, it.msg.topic}
		end := since[c]
		if end == nil || it.block < end.block || !it.msg.isLeaveDiff() || !p.ownLeaving(it.msg, it.client, nil) {
			return false
		}
		recorded[c]++
		return true
	})
	for c, end := range since {
		for range max(ends[c], recorded[c]) {
			p.add(&item{client: c.client, block: end.block, kind: itemAllowance, step: end.step,
				why: "presence_diff about its own leaving",
				allows: func(m message, b *bindings) bool {
					return m.topic == c.topic && m.isLeaveDiff() && p.ownLeaving(m, c.client, b)
				}})
		}
	}
}

// ownLeaving reports whether none of the leaving metas is known to belong to another
// client. The refs are placeholders if b is nil, and values otherwise.
func (p *plan) ownLeaving(m message, client int, b *bindings) bool {
	for _, ref := range m.leavingRefs() {
		index, known := "", false
		if b != nil {
			index, known = b.holder("phx_ref", ref)
		} else if match := placeholderPattern.FindStringSubmatch(ref); match != nil {
			index, known = match[2], true
		}
		if owner, ok := p.owners[index]; known && ok && owner != client {
			return false
		}
	}
	return true
}

// allowOvertakenAnswers implements rule 5: of messages sent at once, those after a leave
// or a stop, and a leave that a join overtakes, may or may not be answered.
func (p *plan) allowOvertakenAnswers() {
	for _, b := range p.blocks {
		for _, sent := range overtaken(sentAtOnce(b.action)) {
			taken := false
			p.removeItems(func(it *item) bool {
				if taken || it.client != b.action.Client || it.block < b.index || it.kind != itemText ||
					!it.msg.isOvertakenAnswer(sent) {
					return false
				}
				taken = true
				return true
			})
			p.add(&item{client: b.action.Client, block: b.index, kind: itemAllowance, step: b.action,
				why:    "answer to a message after a leave or stop",
				allows: func(m message, _ *bindings) bool { return m.isOvertakenAnswer(sent) }})
		}
	}
}

// sentAtOnce returns the messages of a send_many, or the lines of a POST.
func sentAtOnce(s *Step) []message {
	lines := s.SendMany
	if s.HTTP != nil && s.HTTP.Method == "POST" && s.HTTP.Body != nil && s.HTTP.isNDJSON() {
		lines = strings.Split(*s.HTTP.Body, "\n")
	}
	var sent []message
	for _, line := range lines {
		if m, ok := parseText(line); ok {
			sent = append(sent, m)
		}
	}
	return sent
}

func (r *Request) isNDJSON() bool {
	for _, h := range r.Headers {
		if strings.EqualFold(h.Name, "Content-Type") {
			media, _, err := mime.ParseMediaType(h.Value)
			return err == nil && media == "application/x-ndjson"
		}
	}
	return false
}

// overtaken returns the messages that need not be answered.
func overtaken(sent []message) []message {
	var free []message
	for j, m := range sent {
		isFree := false
		for i, other := range sent {
			if i == j || other.topic != m.topic {
				continue
			}
			ends := other.event == "phx_leave" || strings.HasPrefix(other.event, "stop")
			isFree = isFree || i < j && ends && m.event != "phx_join"
			isFree = isFree || i > j && m.event == "phx_leave" && other.event == "phx_join"
		}
		if isFree {
			free = append(free, m)
		}
	}
	return free
}

// removeItems removes the messages for which gone returns true from what is required.
// They keep their place in p.items, where nothing requires them.
func (p *plan) removeItems(gone func(*item) bool) {
	keep := func(items []*item) []*item {
		var kept []*item
		for _, it := range items {
			if !it.isMessage() || !gone(it) {
				kept = append(kept, it)
			}
		}
		return kept
	}
	for _, b := range p.blocks {
		b.items = keep(b.items)
		for _, a := range b.answers {
			a.messages = keep(a.messages)
		}
	}
}

// ageing implements rule 8: a row of the same request, repeated until the session is
// dead. That may happen anywhere between the first and the last.
type ageing struct {
	first, last *block
	alive, dead *Step // answers recorded before and after
	gone        bool  // 410 has been seen in this play
}

// findAgeing marks the rows of requests to which rule 8 applies.
func (p *plan) findAgeing() {
	for i := 0; i < len(p.blocks); {
		row := p.sameRequests(i)
		i += max(1, len(row))
		if len(row) >= 3 {
			markAgeing(row)
		}
	}
}

// sameRequests returns the row of blocks that repeat the request of block i, without the
// waits between them.
func (p *plan) sameRequests(i int) []*block {
	first := p.blocks[i]
	if !first.isOneRequest() {
		return nil
	}
	row := []*block{first}
	for _, b := range p.blocks[i+1:] {
		if b.action.Wait != nil && len(b.items)+len(b.answers) == 0 {
			continue
		}
		a, f := b.action.HTTP, first.action.HTTP
		if !b.isOneRequest() || a.Method != f.Method || a.Path != f.Path || a.Query != f.Query {
			break
		}
		row = append(row, b)
	}
	return row
}

func (b *block) isOneRequest() bool {
	return b.action.HTTP != nil && b.action.Async == "" && len(b.items) == 0 && len(b.answers) == 1
}

// markAgeing applies the rule if the recorded statuses go from alive to 410.
func markAgeing(row []*block) {
	a := &ageing{first: row[0], last: row[len(row)-1]}
	for _, b := range row {
		body, ok := pollBody(b.answers[0].step.HTTPResponse)
		switch {
		case !ok:
			return
		case body.status == "410":
			if a.dead == nil {
				a.dead = b.answers[0].step
			}
		case body.status == "200" || body.status == "204":
			if a.dead != nil {
				return
			}
			a.alive = b.answers[0].step
		default:
			return
		}
	}
	if a.alive == nil || a.dead == nil {
		return
	}
	for _, b := range row {
		b.answers[0].ageing = a
	}
}
