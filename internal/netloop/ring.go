package netloop

// ring is a queue that a loop owns. Its zero value is empty.
type ring[T any] struct {
	items []T // its length is 0 or a power of two
	head  int
	n     int
}

// smallRing is the length of a ring that has grown once.
const smallRing = 8

// at returns the i-th item of the queue; 0 is the next to leave.
func (r *ring[T]) at(i int) T { return r.items[(r.head+i)&(len(r.items)-1)] }

func (r *ring[T]) push(item T) {
	if r.n == len(r.items) {
		r.grow(smallRing)
	}
	r.items[(r.head+r.n)&(len(r.items)-1)] = item
	r.n++
}

// grow doubles the room, to least at the least.
func (r *ring[T]) grow(least int) {
	items := make([]T, max(least, 2*len(r.items)))
	for i := range r.n {
		items[i] = r.at(i)
	}
	r.items, r.head = items, 0
}

func (r *ring[T]) pop() T {
	var none T
	item := r.items[r.head]
	r.items[r.head] = none
	r.head = (r.head + 1) & (len(r.items) - 1)
	r.n--
	return item
}

// connRing is a queue of connections. An empty one holds no memory: the loop keeps
// it for the next.
type connRing struct{ ring[*Conn] }

const (
	connRingSize  = 64 // connections in a new ring
	connRingsKept = 64
)

func (r *connRing) push(l *Loop, c *Conn) {
	if r.n == len(r.items) {
		r.makeRoom(l)
	}
	r.ring.push(c)
}

func (r *connRing) makeRoom(l *Loop) {
	k := len(l.rings)
	if len(r.items) > 0 || k == 0 {
		r.grow(connRingSize)
		return
	}
	r.items, l.rings[k-1] = l.rings[k-1], nil
	l.rings = l.rings[:k-1]
}

func (r *connRing) pop(l *Loop) *Conn {
	c := r.ring.pop()
	if r.n == 0 {
		l.keepRing(r)
	}
	return c
}

// keepRing takes back the memory of an empty ring, unless it is more than the
// remaining connections could fill.
func (l *Loop) keepRing(r *connRing) {
	if len(l.rings) < connRingsKept && len(r.items) <= max(connRingSize, 2*cap(l.conns)) {
		l.rings = append(l.rings, r.items)
	}
	r.items, r.head = nil, 0
}
