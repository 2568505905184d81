package conformance

import (
	"net/url"
	"strings"
)

// itemKind is the kind of observation that an item is.
type itemKind uint8

const (
	itemText itemKind = iota
	itemBinary
	itemPong
	itemOpened
	itemClosed
	itemEnd
	itemAllowance // not recorded, but allowed
)

// item is something that a client must see or may see.
type item struct {
	id     int // place in plan.items, and in the done set of a state
	client int
	block  int // index of the block; an allowance is valid from this block on
	kind   itemKind
	step   *Step // the observation; for a long-poll message, the http_response
	open   *Open // for an opened, the request
	text   string
	msg    message
	// free means that the item has no order among the others of its block (rule 6).
	free bool
	// allows reports whether an allowance permits the message.
	allows func(m message, b *bindings) bool
	why    string // of an allowance, for the trace
}

func (it *item) required() bool { return it.kind != itemAllowance }

// block is an action with the observations up to the next action.
type block struct {
	index    int
	action   *Step
	items    []*item // required ones of WebSocket clients
	answers  []*pollPlan
	silence  *Step
	lastStep *Step
}

// pollPlan is a recorded http_response with its messages.
type pollPlan struct {
	step     *Step    // the observation
	request  *Step    // the action that asked
	messages []*item  // of a long-poll answer
	isPoll   bool     // status 200 or 204 in the body, messages beside it
	ageing   *ageing  // rule 8, nil if it does not apply
	follow   []*block // polls of the same session without an action in between
}

// plan is a recording prepared for playing.
type plan struct {
	blocks []*block
	items  []*item
	// mustEnd has the clients whose connections ended in the recording. After a close
	// frame they may end at any time (rule 7), but they must.
	mustEnd map[int]*Step
	// owners has, for each ${phx_ref:n}, the client whose channel created it.
	owners        map[string]int
	anyTopicOrder bool
}

// newPlan divides a recording into blocks and decides which observations are required,
// and what else is allowed.
func newPlan(name string, rec Recording) *plan {
	p := &plan{mustEnd: map[int]*Step{}, owners: map[string]int{}, anyTopicOrder: rec.anyTopicOrder}
	p.cut(rec.Steps)
	p.findOwners()
	pipelined := strings.Contains(name, "_pipelined")
	links := map[int]link{}
	for _, b := range p.blocks {
		for _, it := range b.items {
			it.free = pipelined && b.action.SendMany != nil
		}
		b.items = p.dropFreeEnds(b.items, links)
	}
	p.allowLeaveDiffs()
	p.allowOvertakenAnswers()
	p.chainPolls()
	p.findAgeing()
	return p
}

// cut makes blocks and items of steps.
func (p *plan) cut(steps []Step) {
	requests := map[string]*Step{}
	var b *block
	for i := range steps {
		s := &steps[i]
		if s.isAction() {
			b = &block{index: len(p.blocks), action: s, lastStep: s}
			p.blocks = append(p.blocks, b)
			if s.Async != "" {
				requests[s.Async] = s
			}
			continue
		}
		b.lastStep = s
		switch {
		case s.SilenceMs != nil:
			b.silence = s
		case s.HTTPResponse != nil:
			request := b.action
			if s.Of != "" {
				request = requests[s.Of]
			}
			b.answers = append(b.answers, p.newPoll(b, s, request))
		default:
			b.items = append(b.items, p.add(newItem(b, s)))
		}
	}
}

func (p *plan) add(it *item) *item {
	it.id = len(p.items)
	p.items = append(p.items, it)
	return it
}

func newItem(b *block, s *Step) *item {
	it := &item{client: s.Client, block: b.index, step: s}
	switch {
	case s.Recv != nil:
		it.kind, it.text = itemText, *s.Recv
		it.msg, _ = parseText(it.text)
	case s.RecvBin != nil:
		it.kind, it.text = itemBinary, *s.RecvBin
		it.msg, _ = parseBinary(it.text)
	case s.Pong != nil:
		it.kind, it.text = itemPong, *s.Pong
	case s.Opened != nil:
		it.kind, it.open = itemOpened, b.action.Open
	case s.Closed != nil:
		it.kind = itemClosed
	default:
		it.kind = itemEnd
	}
	return it
}

// newPoll makes items of the messages in a long-poll answer.
func (p *plan) newPoll(b *block, s, request *Step) *pollPlan {
	poll := &pollPlan{step: s, request: request}
	body, ok := pollBody(s.HTTPResponse)
	if !ok || request == nil || request.HTTP.Method != "GET" {
		return poll
	}
	poll.isPoll = body.status == "200" || body.status == "204"
	if !poll.isPoll {
		return poll
	}
	for _, text := range body.messages {
		it := &item{client: s.Client, block: b.index, step: s, kind: itemText, text: text}
		it.msg, _ = parseText(text)
		poll.messages = append(poll.messages, p.add(it))
	}
	return poll
}

// link is the state of a client's connection in the recording.
type link uint8

const (
	linkOpen    link = iota
	linkClosed       // a close frame arrived: the end may be seen at any time (rule 7)
	linkRefused      // the handshake was refused: anything may happen to the connection
)

// dropFreeEnds removes the ends of connections that may be seen at any time.
func (p *plan) dropFreeEnds(items []*item, links map[int]link) []*item {
	var kept []*item
	for _, it := range items {
		switch it.kind {
		case itemOpened:
			links[it.client] = linkOpen
			if !it.step.Opened.Status.Has(101) {
				links[it.client] = linkRefused
			}
		case itemClosed:
			links[it.client] = linkClosed
		case itemEnd:
			if links[it.client] == linkRefused {
				continue
			}
			p.mustEnd[it.client] = it.step
			if links[it.client] == linkClosed {
				continue
			}
		}
		kept = append(kept, it)
	}
	return kept
}

// eachMessage calls f for every message that a client must get, in order.
func (p *plan) eachMessage(f func(b *block, it *item)) {
	for _, b := range p.blocks {
		for _, it := range b.items {
			f(b, it)
		}
		for _, a := range b.answers {
			for _, it := range a.messages {
				f(b, it)
			}
		}
	}
}

// findOwners finds, for each ${phx_ref:n}, the client whose action it first follows.
func (p *plan) findOwners() {
	p.eachMessage(func(b *block, it *item) {
		for _, m := range placeholderPattern.FindAllStringSubmatch(it.text, -1) {
			if _, known := p.owners[m[2]]; m[1] == "phx_ref" && !known {
				p.owners[m[2]] = b.action.Client
			}
		}
	})
}

// precedes reports whether a, recorded before b for the same client in the same block (or
// row of polls), must come before b.
func (p *plan) precedes(a, b *item) bool {
	for _, k := range []itemKind{itemOpened, itemClosed, itemEnd} {
		if a.kind == k || b.kind == k {
			return true
		}
	}
	if a.free && b.free {
		return false
	}
	if diffA, diffB := a.msg.event == "presence_diff", b.msg.event == "presence_diff"; diffA || diffB {
		return diffA && diffB && a.msg.topic == b.msg.topic // rule 1
	}
	if !a.isMessage() || !b.isMessage() || a.msg.topic == b.msg.topic {
		return true
	}
	if p.anyTopicOrder {
		return false
	}
	return a.msg.topic != "phoenix" && b.msg.topic != "phoenix" // rule 3
}

func (it *item) isMessage() bool { return it.kind == itemText || it.kind == itemBinary }

// chainPolls finds, for each synchronous poll, the polls of the same session that follow
// without an action in between.
func (p *plan) chainPolls() {
	for i, b := range p.blocks {
		if !b.isPlainPoll() {
			continue
		}
		session := pollSession(b.action)
		for _, next := range p.blocks[i+1:] {
			if next.action.Wait != nil && len(next.items)+len(next.answers) == 0 && next.silence == nil {
				continue
			}
			if !next.isPlainPoll() || pollSession(next.action) != session {
				break
			}
			b.answers[0].follow = append(b.answers[0].follow, next)
		}
	}
}

// isPlainPoll reports whether the block is only a poll and its answer.
func (b *block) isPlainPoll() bool {
	return b.action.HTTP != nil && b.action.Async == "" && len(b.items) == 0 &&
		b.silence == nil && len(b.answers) == 1 && b.answers[0].isPoll
}

// pollSession returns a name for the session of a request, from its path and token.
func pollSession(s *Step) string {
	token := ""
	if q, err := url.ParseQuery(s.HTTP.Query); err == nil {
		token = q.Get("token")
	}
	for _, h := range s.HTTP.Headers {
		if strings.EqualFold(h.Name, "X-Phoenix-Longpoll-Token") && !h.Omit {
			token = h.Value
		}
	}
	return s.HTTP.Path + " " + token
}
