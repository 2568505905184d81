package owners

import (
	"context"
	"crypto/rand"
	"errors"
	"time"
)

// lease is this node's lease, as it last wrote it to the store.
type lease struct {
	life     string // "" without one
	revision uint64
	taken    time.Time // the start of the first renewal
	renewed  time.Time // the start of the last renewal that succeeded
}

// valid reports whether this node may own anything.
func (l *lease) valid(now time.Time) bool { return l.life != "" && now.Sub(l.renewed) < GiveUpAfter }

// hold renews the lease until Close. After a failure it tries again sooner. The store may
// take a while to open at the start, so the first failures are not logged.
func (w *Owners) hold() {
	start := time.Now()
	for {
		pause := RenewEvery
		if err := w.renew(w.ctx); err != nil {
			if time.Since(start) >= LeaseTime {
				w.log("the lease was not renewed", err)
			}
			pause = lookEvery
		}
		select {
		case <-time.After(pause):
		case <-w.ctx.Done():
			return
		}
	}
}

// renew renews the lease, or takes a new one where there is none.
func (w *Owners) renew(ctx context.Context) error {
	select {
	case w.renewal <- struct{}{}:
		defer func() { <-w.renewal }()
	case <-ctx.Done():
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	w.mu.Lock()
	l, record := w.lease, nodeRecord{Address: w.options.Address, Draining: w.draining}
	w.mu.Unlock()
	key := nodePrefix + w.options.Node
	start := time.Now()
	if l.life == "" {
		l.life = rand.Text()
		_, revision, err := w.store.Get(ctx, key)
		if err != nil && !errors.Is(err, ErrKeyNotFound) {
			return err
		}
		l.revision = revision // of an earlier life of this node, which ends here
	}
	record.Life = l.life
	next, err := w.store.Put(ctx, key, encode(record), l.revision)
	if errors.Is(err, ErrKeyRevision) {
		return w.contested(ctx, key, l)
	}
	if err != nil {
		return err
	}
	w.renewed(lease{life: l.life, revision: next, renewed: start})
	return nil
}

// renewed notes a renewal, unless the lease has ended meanwhile.
func (w *Owners) renewed(l lease) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lease.life != "" && w.lease.life != l.life || w.lease.revision > l.revision {
		return
	}
	isNew := w.lease.life == ""
	l.taken = w.lease.taken
	if isNew {
		l.taken = l.renewed
	}
	w.lease = l
	// Expiry is counted from the start of the request: the others saw the renewal later.
	time.AfterFunc(time.Until(l.renewed.Add(GiveUpAfter)), func() { w.expire(l) })
	if isNew {
		w.kick()
	}
}

// contested handles a lease that is not at the revision where this node left it: either
// another node took it away, or the answer to a renewal was lost.
func (w *Owners) contested(ctx context.Context, key string, l lease) error {
	value, revision, err := w.store.Get(ctx, key)
	switch {
	case err != nil && !errors.Is(err, ErrKeyNotFound):
		return err
	case err == nil && decode[nodeRecord](value).Life == l.life:
		w.mu.Lock()
		if w.lease.life == l.life {
			w.lease.revision = revision // the next renewal counts
		}
		w.mu.Unlock()
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lease.life == l.life {
		w.lease = lease{}
		w.loseAll()
	}
	return errors.New("owners: another node took the lease away, or has the name of this one")
}

// expire ends the lease if it has not been renewed since.
func (w *Owners) expire(l lease) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lease.life != l.life || w.lease.renewed.After(l.renewed) {
		return
	}
	w.lease = lease{}
	if runs := w.loseAll(); len(runs) > 0 {
		w.log("the lease has expired: the instances of this node stop", ErrLost)
	}
}
