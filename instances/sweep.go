package instances

import (
	"context"
	"time"
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
			if err := m.remove(ctx, one, AnyRevision, "idle"); err != nil {
				m.log.Error("idle instance not ended").Err(err).Str("instance", one.id).Write()
			}
		})
	}
}

// idle reports whether nobody was connected for the idle time. Only the sweeper
// calls it.
func (m *member) idle(now time.Time) bool {
	m.mu.RLock()
	ttl, life, state := time.Duration(m.spec.IdleTTL), m.life, m.state
	m.mu.RUnlock()
	if ttl <= 0 || state != Running || life == nil || m.declared {
		m.idleSince = time.Time{}
		return false
	}
	s := life.endpoint.Stats()
	if s.Sockets > 0 || s.Opened != m.opened || m.idleSince.IsZero() {
		m.opened, m.idleSince = s.Opened, now
	}
	return now.Sub(m.idleSince) >= ttl
}
