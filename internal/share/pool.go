// Package share divides resources that clients share, such as rooms and
// connections, so that a few clients cannot use them up. It knows counts and
// names, but no sockets.
package share

import "sync"

// Default is the part that one client may have of what others leave free, in
// percent. A lone client can use a quarter, ten clients leave a twentieth free,
// and as long as anything is free, a client that has nothing gets one unit.
const Default = 25

// Allowed reports whether a client that has some units of a capacity may have
// one more, which it may below percent of what others leave. As long as
// anything is free, one unit is always allowed.
func Allowed(have, others, capacity, percent int) bool {
	free := capacity - others
	return have < free && (have == 0 || 100*have < percent*free)
}

// Pool is a capacity that clients share. It is divided twice: among clients,
// and a client's part among its sockets, so that one tab or one script does not
// shut out everybody in the same office. Its methods are safe from any
// goroutine.
type Pool struct {
	// Static after New.
	capacity int
	percent  int // 100: no shares

	mu      sync.Mutex
	used    int                // guarded by mu
	clients map[string]*client // guarded by mu
}

// client counts what one client has. The client without a name stands for all
// that cannot be told apart.
type client struct {
	name string
	has  int
	each map[any]int // by socket
}

// Slot is one unit of a pool.
type Slot struct {
	client *client
	socket any
}

// New returns a pool of capacity units, in which one client may have percent of
// what others leave. 0 percent means [Default].
func New(capacity, percent int) *Pool {
	if percent <= 0 {
		percent = Default
	}
	return &Pool{capacity: capacity, percent: percent, clients: make(map[string]*client)}
}

// Refusal is the reason why nothing was taken.
type Refusal uint8

const (
	// Taken means that the unit was taken: there was no refusal.
	Taken Refusal = iota
	// Full means that no unit is free.
	Full
	// ShareUsed means that units are free, but not for this client or socket.
	ShareUsed
)

// Take takes one unit for a socket of a client. Clients without a name are told
// apart by socket only. The slot must be returned with Give.
func (p *Pool) Take(name string, socket any) (*Slot, Refusal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used >= p.capacity {
		return nil, Full
	}
	c := p.clients[name]
	if c == nil {
		c = &client{name: name, each: make(map[any]int)}
	}
	// The most that the client may have is its sockets' capacity.
	most := p.capacity - (p.used - c.has)
	if name != "" {
		if !Allowed(c.has, p.used-c.has, p.capacity, p.percent) {
			return nil, ShareUsed
		}
		most = max(1, most*p.percent/100)
	}
	if own := c.each[socket]; p.percent < 100 && !Allowed(own, c.has-own, most, p.percent) {
		return nil, ShareUsed
	}
	return p.taken(c, socket), Taken
}

// TakeAny is Take for the program itself, which may have everything that is
// free.
func (p *Pool) TakeAny() (*Slot, Refusal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used >= p.capacity {
		return nil, Full
	}
	c := p.clients[program]
	if c == nil {
		c = &client{name: program, each: make(map[any]int)}
	}
	return p.taken(c, nil), Taken
}

// program is the client that TakeAny counts for. No client has that name.
const program = "\x00"

// taken counts one unit. The caller holds mu.
func (p *Pool) taken(c *client, socket any) *Slot {
	p.used++
	c.has++
	c.each[socket]++
	p.clients[c.name] = c
	return &Slot{c, socket}
}

// Give returns a slot.
func (p *Pool) Give(s *Slot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used--
	c := s.client
	if c.has--; c.has == 0 {
		delete(p.clients, c.name)
	}
	if c.each[s.socket]--; c.each[s.socket] <= 0 {
		delete(c.each, s.socket)
	}
}
