// Package share divides what clients have in common, so that a few of them cannot
// use it up: rooms, connections. It knows counts and names, no sockets.
package share

import "sync"

// Default is the part of what others leave free that one client may have, in
// percent. A client alone can use a quarter, ten clients leave a twentieth free,
// and as long as anything is free, somebody who has nothing gets one.
const Default = 25

// Allowed reports whether somebody who has some of a capacity may have one more:
// it is less than percent of what others leave. At least one is always allowed
// where anything is free.
func Allowed(have, others, capacity, percent int) bool {
	free := capacity - others
	return have < free && (have == 0 || 100*have < percent*free)
}

// Pool is a capacity that clients share. It divides twice: among clients, and what
// a client may have among its sockets, so that one tab or one script does not keep
// out everybody who comes from the same office. Its methods are safe from any
// goroutine.
type Pool struct {
	// Static after New.
	capacity int
	percent  int // 100: no shares

	mu      sync.Mutex
	used    int                // guarded by mu
	clients map[string]*client // guarded by mu
}

// client is what one client has. The one without a name is everybody who cannot
// be told apart.
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

// New returns a pool of capacity units, of which percent of what others leave are
// one client's. percent 0 is [Default].
func New(capacity, percent int) *Pool {
	if percent <= 0 {
		percent = Default
	}
	return &Pool{capacity: capacity, percent: percent, clients: make(map[string]*client)}
}

// Refusal says why nothing was taken.
type Refusal uint8

const (
	// Taken is no refusal: the unit was taken.
	Taken Refusal = iota
	// Full means that no unit is free.
	Full
	// ShareUsed means that units are free, but not for this client or socket.
	ShareUsed
)

// Take takes one unit for a socket of a client. Clients without a name are divided
// by socket alone. The slot is to be given back with Give.
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
	// What the client may have: its sockets' capacity.
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

// TakeAny is Take for the program itself: it may have all that is free.
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

// taken counts one unit. With mu.
func (p *Pool) taken(c *client, socket any) *Slot {
	p.used++
	c.has++
	c.each[socket]++
	p.clients[c.name] = c
	return &Slot{c, socket}
}

// Give gives a slot back.
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
