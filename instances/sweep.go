package instances

import (
	"context"
	"errors"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
)

// sweepInterval is how often idle instances are looked for, and so the
// precision of idle times.
const sweepInterval = time.Second

// sweep ends instances that have been without clients for their idle time.
func (m *Manager) sweep() {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			m.endIdle(m.options.Now())
		case <-m.ctx.Done():
			return
		}
	}
}

func (m *Manager) endIdle(now time.Time) {
	m.mu.RLock()
	var idle []*member
	for _, one := range m.members {
		if one.idle(now) {
			idle = append(idle, one)
		}
	}
	m.mu.RUnlock()
	for _, one := range idle {
		m.background(func(ctx context.Context) {
			err := m.remove(ctx, one, AnyRevision, "idle")
			if err != nil && !errors.Is(err, ErrNotFound) && ctx.Err() == nil { // else it has been deleted, or the manager closes
				m.log.Error("idle instance not ended").Err(err).Str("instance", one.id).Write()
			}
		})
	}
}

// idle reports whether nobody was connected for the idle time. Only the sweeper
// calls it.
func (m *member) idle(now time.Time) bool {
	m.mu.RLock()
	ttl, life, state, spreads := time.Duration(m.spec.IdleTTL), m.life, m.state, m.spreads(m.kind)
	m.mu.RUnlock()
	if ttl <= 0 || m.declared || (state != Running || life == nil) && !spreads {
		m.idleSince = time.Time{}
		return false
	}
	var s channels.Stats
	if life != nil {
		s = life.endpoint.Stats()
	}
	if s.Sockets > 0 || s.Opened != m.opened || m.idleSince.IsZero() {
		m.opened, m.idleSince = s.Opened, now
	}
	idle := now.Sub(m.idleSince) >= ttl
	if spreads {
		return m.manager.nodes.agree(m, idle, now)
	}
	return idle
}

// agree tells the other nodes whether an instance that runs on all of them is idle
// here, and reports whether it is idle everywhere. After the last node has become
// idle, all wait for idleSettle, so that clients that have just connected are noticed.
// Nodes without a lease do not count.
func (n *nodes) agree(one *member, idle bool, now time.Time) bool {
	n.mu.Lock()
	_, told := n.idle[one.id][n.manager.options.Node]
	n.mu.Unlock()
	if idle == told {
		return idle && n.allIdle(one.id, now, idleSettle)
	}
	one.mu.RLock()
	revision := one.revision
	one.mu.RUnlock()
	if one.voting.CompareAndSwap(false, true) {
		n.manager.background(func(ctx context.Context) {
			defer one.voting.Store(false)
			ctx, cancel := context.WithTimeout(ctx, requestTimeout)
			defer cancel()
			n.tellIdle(ctx, one.id, idle, revision)
		})
	}
	return false
}

const idleSettle = 3 * sweepInterval

// tellIdle tells the other nodes whether an instance is idle here. If that
// fails, the sweeper tries again.
func (n *nodes) tellIdle(ctx context.Context, id string, idle bool, revision uint64) {
	key, record := statusPrefix+id+"."+n.manager.options.Node, specPrefix+id
	var err error
	if idle {
		_, err = n.store.PutIf(ctx, key, []byte("{}"), record, revision) // so that nothing is left behind of a deleted instance
	} else {
		err = n.store.DeleteIf(ctx, key, record, revision)
	}
	if err != nil && !errors.Is(err, ErrKeyRevision) {
		n.manager.log.Warn("the other nodes do not know whether an instance is idle here").Err(err).Str("instance", id).Write()
	}
}
