package channels

import (
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/mycelium-rt/mycelium/internal/websocket"
)

// addresses counts connections, in all and by IP address, against the limits.
type addresses struct {
	mu         sync.Mutex
	total      int
	by         map[netip.Addr]int // only with MaxConnectionsPerAddress
	handshakes bucket
}

// ticket is one counted connection; nil where there is no limit.
type ticket struct{ addr netip.Addr }

var (
	errTooManyConnections = errors.New("channels: Limits.MaxConnections is reached")
	errTooManyFromAddress = errors.New("channels: Limits.MaxConnectionsPerAddress is reached")
)

// enter counts a connection or a long-poll session in, or refuses it. peer is
// asked only where it matters.
func (e *Endpoint) enter(peer func() netip.AddrPort) (*ticket, error) {
	l := &e.limits
	if l.MaxConnections <= 0 && l.MaxConnectionsPerAddress <= 0 {
		return nil, nil
	}
	t := new(ticket)
	if l.MaxConnectionsPerAddress > 0 {
		t.addr = peer().Addr().Unmap()
	}
	a := &e.admitted
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case l.MaxConnections > 0 && a.total >= l.MaxConnections:
		e.counters.refused.Add(1)
		return nil, errTooManyConnections
	case l.MaxConnectionsPerAddress > 0 && a.by[t.addr] >= l.MaxConnectionsPerAddress:
		e.counters.refused.Add(1)
		return nil, errTooManyFromAddress
	}
	if a.by == nil {
		a.by = make(map[netip.Addr]int)
	}
	a.total++
	a.by[t.addr]++
	return t, nil
}

// leave counts a connection out; one that was refused has no ticket.
func (e *Endpoint) leave(t *ticket) {
	if t == nil {
		return
	}
	a := &e.admitted
	a.mu.Lock()
	defer a.mu.Unlock()
	a.total--
	if a.by[t.addr]--; a.by[t.addr] == 0 {
		delete(a.by, t.addr)
	}
}

// busy refuses handshakes while the endpoint drains or above the rate. Clients
// of Phoenix come back by themselves, each with its own back-off.
func (e *Endpoint) busy() refusal {
	if e.isDraining() {
		return unavailable("2")
	}
	if e.limits.HandshakesPerSecond <= 0 {
		return refusal{}
	}
	a := &e.admitted
	a.mu.Lock()
	defer a.mu.Unlock()
	a.handshakes.rate = e.limits.HandshakesPerSecond
	if !a.handshakes.take(time.Now()) {
		e.counters.refused.Add(1)
		return unavailable("1")
	}
	return refusal{}
}

func refusalFor(err error) refusal {
	var wrong *websocket.HandshakeError
	if errors.As(err, &wrong) {
		return refusal{status: wrong.Status, header: wrong.Header(), body: wrong.Reason}
	}
	return refusal{status: http.StatusBadRequest}
}
