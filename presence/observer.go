package presence

// Observer is told of the presences of this node's channels: see [Tracker.Observe].
type Observer interface {
	// PresenceJoined is called before clients are told of a presence. A meta with a
	// phx_ref_prev replaces that presence.
	PresenceJoined(topic, key, meta string)
	// PresenceLeft is called before clients are told that a presence has ended, with the
	// meta that they know.
	PresenceLeft(topic, key, meta string)
}

// Observe has o told of the presences of this node's channels from now on. Its methods
// are called with a lock held, in the order in which clients are told; they must not block
// and must not call the tracker. nil ends that.
func (t *Tracker) Observe(o Observer) {
	if o == nil {
		t.observer.Store(nil)
		return
	}
	t.observer.Store(&o)
}

// observe tells the observer, if there is one, what clients are about to be told. Joins
// come before leaves, as in a diff.
func (t *Tracker) observe(tp *topic, told []changedEntry) {
	at := t.observer.Load()
	if at == nil {
		return
	}
	for c := range tp.changesOf(told) {
		if p := c.presence; p.meta != "" && p.holder.isOwn() {
			(*at).PresenceJoined(tp.name, p.entry.key, p.meta)
		}
	}
	for c := range tp.changesOf(told) {
		if c.sent != "" && c.presence.meta == "" && c.presence.holder.isOwn() {
			(*at).PresenceLeft(tp.name, c.presence.entry.key, c.sent)
		}
	}
}
