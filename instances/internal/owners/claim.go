package owners

import (
	"context"
	"errors"
	"time"
)

// look claims instances that nobody owns, and stops those that this node has lost.
func (w *Owners) look() {
	ticker, sweeper := time.NewTicker(lookEvery), time.NewTicker(sweepEvery)
	defer ticker.Stop()
	defer sweeper.Stop()
	for {
		select {
		case <-ticker.C:
		case <-sweeper.C:
			w.sweep(time.Now())
			continue
		case <-w.wake:
		case <-w.ctx.Done():
			return
		}
		w.lookOnce(time.Now())
	}
}

func (w *Owners) lookOnce(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.nodes.current || !w.owners.current {
		return
	}
	dead := make(map[string]seen[nodeRecord])
	for _, in := range w.all {
		rec := w.owners.keys[ownerPrefix+in.id]
		mine := rec.value.Node == w.options.Node && rec.value.Life == w.lease.life
		switch {
		case in.run != nil:
			if rec.revision > in.run.claimed && !mine {
				in.run.cancel(ErrLost)
			}
		case in.busy:
		case !in.wanted:
			w.dropUnwanted(in)
		case mine && rec.revision <= in.past: // a run that is over; what became of the key is not known here yet
		case mine && w.lease.valid(now) && !w.draining: // its claim's answer was lost
			w.own(in, rec.revision)
		case w.alive(rec.value, now):
			in.waiting = time.Time{}
		case w.suspect(rec.value, now):
			dead[rec.value.Node] = w.nodes.keys[nodePrefix+rec.value.Node]
		default:
			w.compete(in, rec, now)
		}
	}
	for name, n := range dead {
		w.work.Go(func() { w.depose(name, n.revision) })
	}
}

// sweep removes the owner keys of deleted instances that a node left behind because it
// was stopped too early. If another node does want such an instance, it claims it as a
// key that does not exist.
func (w *Owners) sweep(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.nodes.current || !w.owners.current || !w.lease.valid(now) {
		return
	}
	for key, rec := range w.owners.keys {
		if w.all[key[len(ownerPrefix):]] != nil || now.Sub(rec.at) < sweepEvery || w.alive(rec.value, now) || w.suspect(rec.value, now) {
			continue
		}
		w.work.Go(func() {
			ctx, cancel := context.WithTimeout(w.ctx, requestTimeout)
			defer cancel()
			if err := ignore(w.store.Delete(ctx, key, rec.revision)); err != nil {
				w.log("removing "+key, err)
			}
		})
	}
}

// alive reports whether the owner of a record may be running its instance.
func (w *Owners) alive(o ownerRecord, now time.Time) bool {
	n, ok := w.nodes.keys[nodePrefix+o.Node]
	return ok && o.Node != "" && n.value.Life == o.Life && now.Sub(n.at) < LeaseTime
}

// suspect reports whether the owner of a record still has its lease in the store, but has
// not renewed it for too long.
func (w *Owners) suspect(o ownerRecord, now time.Time) bool {
	n, ok := w.nodes.keys[nodePrefix+o.Node]
	return ok && o.Node != "" && n.value.Life == o.Life && now.Sub(n.at) >= LeaseTime
}

// depose takes a dead node's lease away. It does nothing if the lease was renewed after
// all and this node has not heard of it yet.
func (w *Owners) depose(name string, revision uint64) {
	ctx, cancel := context.WithTimeout(w.ctx, requestTimeout)
	defer cancel()
	if err := ignore(w.store.Delete(ctx, nodePrefix+name, revision)); err != nil {
		w.log("taking away the lease of "+name, err)
	}
}

// compete claims an instance that nobody owns when it is this node's turn.
func (w *Owners) compete(in *instance, rec seen[ownerRecord], now time.Time) {
	if in.waiting.IsZero() {
		in.waiting = now
	}
	// Nodes that start at the same time first learn of each other, so that each takes a share.
	if w.draining || !w.lease.valid(now) || now.Sub(w.lease.taken) < Turn {
		return
	}
	if now.Sub(in.waiting) < time.Duration(w.rank(in.id, now))*Turn {
		return
	}
	select {
	case w.slots <- struct{}{}:
	default:
		return // another claim kicks when it ends
	}
	in.busy = true
	life := w.lease.life
	w.work.Go(func() { w.claim(in, rec, life) })
}

// rank returns how many live nodes come before this one for an instance.
func (w *Owners) rank(id string, now time.Time) (n int) {
	mine := score(id, w.options.Node)
	for key, other := range w.nodes.keys {
		name := key[len(nodePrefix):]
		if name != w.options.Node && !other.value.Draining && now.Sub(other.at) < LeaseTime && score(id, name) > mine {
			n++
		}
	}
	return n
}

// claim takes an instance whose owner is gone.
func (w *Owners) claim(in *instance, was seen[ownerRecord], life string) {
	ctx, cancel := context.WithTimeout(w.ctx, requestTimeout)
	defer cancel()
	next, err := w.take(ctx, in.id, was, life)
	<-w.slots
	switch {
	case errors.Is(err, ErrKeyRevision): // another node was first; the watch shows which
	case err != nil:
		w.log("claiming "+in.id, err)
	case !w.ownAs(in, next, life): // it is no longer wanted here, or the lease is over
		err := ignore(w.store.Delete(ctx, ownerPrefix+in.id, next))
		if err != nil {
			w.log("giving "+in.id+" back", err)
		}
	}
	w.setIdle(in)
}

// ownAs is own, provided that the lease of this life is still valid.
func (w *Owners) ownAs(in *instance, revision uint64, life string) (owned bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lease.life == life && w.lease.valid(time.Now()) && w.own(in, revision)
}

// take makes this node the owner in the store, unless the old owner still has its lease.
// It reads the lease from the store, because the two watches are independent and this
// node may be further behind on leases than on owners. A life that is over never comes
// back, so what holds now still holds when the owner is replaced.
func (w *Owners) take(ctx context.Context, id string, was seen[ownerRecord], life string) (uint64, error) {
	if was.value.Node != "" {
		value, _, err := w.store.Get(ctx, nodePrefix+was.value.Node)
		if err != nil && !errors.Is(err, ErrKeyNotFound) {
			return 0, err
		}
		if err == nil && decode[nodeRecord](value).Life == was.value.Life {
			return 0, ErrKeyRevision
		}
	}
	return w.store.Put(ctx, ownerPrefix+id, encode(ownerRecord{Node: w.options.Node, Life: life}), was.revision)
}

// own runs an instance, unless this node no longer wants it. mu is held.
func (w *Owners) own(in *instance, revision uint64) (owned bool) {
	if !in.wanted || in.run != nil || w.draining {
		return false
	}
	in.waiting = time.Time{}
	ctx, cancel := context.WithCancelCause(context.Background())
	r := &run{done: make(chan struct{}), claimed: revision, Ownership: &Ownership{
		owners: w, key: ownerPrefix + in.id, record: ownerRecord{Node: w.options.Node, Life: w.lease.life},
		ctx: ctx, cancel: cancel, turn: make(chan struct{}, 1), revision: revision,
	}}
	in.run = r
	w.work.Go(func() {
		defer cancel(nil)
		w.options.Run(ctx, in.id, r.Ownership)
		<-ctx.Done() // this node keeps an instance that has stopped by itself
		past := r.lastRevision()
		w.mu.Lock()
		in.run, in.past = nil, past
		w.mu.Unlock()
		close(r.done)
		w.kick()
	})
	return true
}
