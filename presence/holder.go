package presence

// holder is a list of presences that belong together: those of a channel, or those of another node in one topic.
type holder struct {
	channel Channel   // static; nil: another node's
	first   *presence // guarded by the stripe's mu for a channel, else by Replica.mu
}

// isOwn reports whether the presences belong to this node.
func (h *holder) isOwn() bool { return h.channel != nil }

// add adds a presence to the list.
func (h *holder) add(p *presence) {
	p.heldNext = h.first
	if h.first != nil {
		h.first.heldPrev = p
	}
	h.first = p
}

func (h *holder) remove(p *presence) {
	if p.heldPrev == nil {
		h.first = p.heldNext
	} else {
		p.heldPrev.heldNext = p.heldNext
	}
	if p.heldNext != nil {
		p.heldNext.heldPrev = p.heldPrev
	}
	p.heldPrev, p.heldNext = nil, nil
}

// keep counts the memory that is kept for the channel's client.
func (h *holder) keep(bytes int) {
	if k, ok := h.channel.(Keeper); ok {
		k.Keep(bytes)
	}
}
