package instances

import (
	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/fielderr"
)

// Limits bound what an instance and its clients may use; 0 is the default of
// the manager's Options.Limits, which has the same meaning field by field. None
// may be above the manager's: see [Options].
type Limits struct {
	// MaxConnections bounds the sockets of the instance; more get 503.
	MaxConnections int `json:"max_connections,omitempty"`
	// MaxConnectionsPerAddress bounds those of one IP address.
	MaxConnectionsPerAddress int `json:"max_connections_per_address,omitempty"`
	// HandshakesPerSecond is the rate at which sockets are admitted.
	HandshakesPerSecond int `json:"handshakes_per_second,omitempty"`
	// MaxChannels is how many channels one socket may have joined.
	MaxChannels int `json:"max_channels,omitempty"`
	// MaxMessage is the size in bytes of the largest message of a client.
	MaxMessage int `json:"max_message,omitempty"`
	// JoinsPerSecond, MessagesPerSecond and BytesPerSecond are rates of one socket.
	JoinsPerSecond    int `json:"joins_per_second,omitempty"`
	MessagesPerSecond int `json:"messages_per_second,omitempty"`
	BytesPerSecond    int `json:"bytes_per_second,omitempty"`
	// HeartbeatsPerSecond is a rate of one socket too, of heartbeats, pings and
	// what is refused: a socket above it is not read for a while.
	HeartbeatsPerSecond int `json:"heartbeats_per_second,omitempty"`
	// TotalJoinsPerSecond, TotalMessagesPerSecond and TotalBytesPerSecond are
	// rates of all sockets of the instance together.
	TotalJoinsPerSecond    int `json:"total_joins_per_second,omitempty"`
	TotalMessagesPerSecond int `json:"total_messages_per_second,omitempty"`
	TotalBytesPerSecond    int `json:"total_bytes_per_second,omitempty"`
}

// limitField is a limit as a spec has it and as package channels has it.
type limitField struct {
	name string // in JSON
	spec *int
	of   func(*channels.Limits) *int
}

// fields are the fields of l, which they point to.
func (l *Limits) fields() []limitField {
	type all = channels.Limits
	return []limitField{
		{"max_connections", &l.MaxConnections, func(c *all) *int { return &c.MaxConnections }},
		{"max_connections_per_address", &l.MaxConnectionsPerAddress, func(c *all) *int { return &c.MaxConnectionsPerAddress }},
		{"handshakes_per_second", &l.HandshakesPerSecond, func(c *all) *int { return &c.HandshakesPerSecond }},
		{"max_channels", &l.MaxChannels, func(c *all) *int { return &c.MaxChannels }},
		{"max_message", &l.MaxMessage, func(c *all) *int { return &c.MaxMessage }},
		{"joins_per_second", &l.JoinsPerSecond, func(c *all) *int { return &c.JoinsPerSecond }},
		{"messages_per_second", &l.MessagesPerSecond, func(c *all) *int { return &c.MessagesPerSecond }},
		{"bytes_per_second", &l.BytesPerSecond, func(c *all) *int { return &c.BytesPerSecond }},
		{"heartbeats_per_second", &l.HeartbeatsPerSecond, func(c *all) *int { return &c.HeartbeatsPerSecond }},
		{"total_joins_per_second", &l.TotalJoinsPerSecond, func(c *all) *int { return &c.TotalJoinsPerSecond }},
		{"total_messages_per_second", &l.TotalMessagesPerSecond, func(c *all) *int { return &c.TotalMessagesPerSecond }},
		{"total_bytes_per_second", &l.TotalBytesPerSecond, func(c *all) *int { return &c.TotalBytesPerSecond }},
	}
}

// within returns the limits of an instance: those of l, or of base where l has
// none, and none above bounds.
func (l Limits) within(base, bounds channels.Limits) channels.Limits {
	for _, f := range l.fields() {
		to, most := f.of(&base), *f.of(&bounds)
		if *f.spec != 0 {
			*to = *f.spec
		}
		if most > 0 && *to > most {
			*to = most
		}
	}
	return base
}

// above returns the limits that are above bounds, 0 being none. Those that are
// as in kept are left out: they were there before the bounds.
func (l Limits) above(bounds channels.Limits, kept Limits) (wrong fielderr.List) {
	before := kept.fields()
	for i, f := range l.fields() {
		if most := *f.of(&bounds); most > 0 && *f.spec > most && *f.spec != *before[i].spec {
			wrong.Add("/limits/"+f.name, "is %d: this server allows at most %d", *f.spec, most)
		}
	}
	return wrong
}

// bounds are the limits that no instance exceeds: Options.Limits, and the host's
// where those have none.
func (m *Manager) bounds() channels.Limits {
	bounds := m.host.Limits()
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, f := range new(Limits).fields() {
		if own := *f.of(&m.options.Limits); own > 0 {
			*f.of(&bounds) = own
		}
	}
	return bounds
}

// limitsOf returns the limits that an instance is served with.
func (m *Manager) limitsOf(spec Spec) channels.Limits {
	bounds := m.bounds()
	m.mu.RLock()
	defer m.mu.RUnlock()
	return spec.Limits.within(m.options.Limits, bounds)
}

// warnOfLimits logs which limits of a spec limitsOf lowers: it is from the store,
// or from before the server's limits were lowered.
func (m *Manager) warnOfLimits(spec *Spec) {
	wrong := spec.Limits.above(m.bounds(), Limits{})
	if len(wrong) == 0 {
		return
	}
	texts := make([]string, len(wrong))
	for i, w := range wrong {
		texts[i] = w.String()
	}
	m.log.Warn("limits above the server's: the server's apply").Str("instance", spec.ID).Strs("limits", texts).Write()
}
