package netloop

// ring is a queue of connections, owned by a loop. len(conns) is 0 or a power of two. An empty one holds no memory: the
// loop keeps it for the next.
type ring struct {
	conns []*Conn
	head  int
	n     int
}

const (
	ringSize  = 64 // connections in a new ring
	ringsKept = 64
)

func (r *ring) push(l *Loop, c *Conn) {
	if r.n == len(r.conns) {
		r.grow(l)
	}
	r.conns[(r.head+r.n)&(len(r.conns)-1)] = c
	r.n++
}

// grow makes room.
func (r *ring) grow(l *Loop) {
	if k := len(l.rings); len(r.conns) == 0 && k > 0 {
		r.conns, l.rings[k-1] = l.rings[k-1], nil
		l.rings = l.rings[:k-1]
		return
	}
	conns := make([]*Conn, max(ringSize, 2*len(r.conns)))
	for i := range r.n {
		conns[i] = r.conns[(r.head+i)&(len(r.conns)-1)]
	}
	r.conns, r.head = conns, 0
}

func (r *ring) pop(l *Loop) *Conn {
	c := r.conns[r.head]
	r.conns[r.head] = nil
	r.head = (r.head + 1) & (len(r.conns) - 1)
	if r.n--; r.n == 0 {
		l.keepRing(r)
	}
	return c
}

// keepRing takes back the memory of an empty ring, unless it is more than the remaining connections could fill.
func (l *Loop) keepRing(r *ring) {
	if len(l.rings) < ringsKept && len(r.conns) <= max(ringSize, 2*cap(l.conns)) {
		l.rings = append(l.rings, r.conns)
	}
	r.conns, r.head = nil, 0
}
