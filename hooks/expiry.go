package hooks

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
)

// closeExpired is the close code of a connection that has expired, as that of an expired token (auth.CloseExpired).
// Clients reconnect, and the back end decides about them again.
const closeExpired = 1008

const (
	// askAgain is the pause before a back end that did not answer is asked again about a connection that expires.
	askAgain = 5 * time.Second
	// askFrom and askUntil bound when a back end is asked, as parts of the lifetime of a connection. The time between
	// them is chosen at random, so that clients that connected together are not asked about together.
	askFrom, askUntil = 0.75, 0.9
)

// expiry closes a connection when it expires, unless a back end prolongs it.
type expiry struct {
	// Static after construction.
	decider *Decider
	known   *session
	target  *target          // nil if no back end prolongs it
	socket  *channels.Socket // set by start

	ctx    context.Context // ends with stop
	cancel context.CancelFunc

	mu sync.Mutex

	// Guarded by mu.
	life  time.Duration // the lifetime that the connection was last given
	ends  time.Time
	timer *time.Timer // nil before start
}

func (d *Decider) newExpiry(known *session, life time.Duration) *expiry {
	e := &expiry{decider: d, known: known, target: d.target(Refresh, "", ""), life: life, ends: time.Now().Add(life)}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	return e
}

// start is called when the socket is open.
func (e *expiry) start(s *channels.Socket) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.socket = s
	e.timer = time.AfterFunc(e.pause(), e.run)
}

// stop is called when the socket has ended.
func (e *expiry) stop() {
	e.cancel()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.timer != nil {
		e.timer.Stop()
	}
}

// pause returns how long to wait before asking or closing. The caller holds mu.
func (e *expiry) pause() time.Duration {
	if e.target == nil {
		return time.Until(e.ends)
	}
	return time.Until(e.ends) - time.Duration((1-askFrom-rand.Float64()*(askUntil-askFrom))*float64(e.life))
}

// run is called by the timer, on a goroutine of its own.
func (e *expiry) run() {
	if e.ctx.Err() != nil {
		return
	}
	if e.target == nil {
		e.socket.Close(closeExpired, "expired")
		return
	}
	q := e.decider.begin(Refresh)
	q.str("auth_token", e.known.authToken)
	q.about(e.decider, e.target, e.socket, e.known, nil)
	a, err := e.target.ask(e.ctx, e.decider, Refresh, q.id, q.text)
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.ctx.Err() != nil:
		return
	case err == nil && !a.allows(), err != nil && !time.Now().Before(e.ends):
		e.socket.Close(closeExpired, "expired")
		return
	case err != nil: // ask again, the last time when the connection expires
		again := askAgain/2 + rand.N(askAgain)
		e.timer.Reset(max(0, min(again, time.Until(e.ends))))
		return
	}
	if a.ExpiresIn > 0 {
		e.life = time.Duration(a.ExpiresIn * float64(time.Second))
	}
	e.ends = time.Now().Add(e.life)
	e.timer.Reset(e.pause())
}
