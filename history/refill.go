package history

// Refill replaces the recorded messages of a topic by those that merge returns, oldest
// first; nil leaves them as they are. It is for programs that keep messages elsewhere
// too: what is no longer in memory, because the process was restarted or memory was
// short, is recorded once more, with its times, and is not delivered to anybody on this
// node. The other nodes of a shared space deliver it like any other message, so Refill is
// for spaces whose clients are on one node. Positions from before are [Expired] then.
//
// merge is called with the messages that there are, under the lock of the topic. It must
// not block, and must not call the space. Nothing happens if no rule records the topic, or
// if its messages are stored: they are what is stored.
func (sp *Space) Refill(topic string, merge func(have []Message) []Message) error {
	defer sp.store.makeRoom()
	st := sp.stripe(topic)
	sp.lock(st)
	defer st.mu.Unlock()
	if rule := sp.rules.Load().of(topic); rule == nil || rule.Durable {
		return nil
	}
	var have []Message
	r := st.rings[topic]
	if r != nil {
		for k := range r.all {
			have = append(have, k.message(string(k.event)))
		}
	}
	list := merge(have)
	if list == nil {
		return nil
	}
	l := sp.logs.Load()
	if r != nil {
		sp.empty(st, r)
		sp.eraseElsewhere(st, l, topic)
	}
	return sp.refill(st, l, topic, list)
}

// eraseElsewhere has the other nodes of a shared space erase what is here of a topic. The
// stripe's lock is held.
func (sp *Space) eraseElsewhere(st *stripe, l *logs, topic string) {
	if l.state == nil {
		return
	}
	now := sp.store.now()
	e := erasure{upTo: l.position(now).marks, at: now.UnixMilli()}
	l.publishErasure(sp.name, topic, &e)
	sp.store.addErasures(st.keepErasure(topic, &e))
}

// refill adds messages to a topic without a ring. The stripe's lock is held.
func (sp *Space) refill(st *stripe, l *logs, topic string, list []Message) error {
	for _, m := range list {
		r := sp.ringFor(st, topic, m.Event)
		if r == nil {
			continue
		}
		if err := l.number(sp.name, topic, &m); err != nil {
			return err
		}
		sp.store.bytes.Add(r.add(&m))
		sp.store.stats.messages.Add(1)
	}
	if r := st.rings[topic]; r != nil {
		sp.expire(r, sp.store.now())
	}
	return nil
}

// Evicted returns how many messages of the space were dropped because memory was short.
func (sp *Space) Evicted() uint64 { return sp.evicted.Load() }
