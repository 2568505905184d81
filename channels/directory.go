package channels

import (
	"cmp"
	"crypto/rand"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/mycelium-rt/mycelium/internal/callback"
)

// directory finds the sockets of a loop by user and by name, and has the topics that the
// server has subscribed them to. Most programs ask for none of these, so each part is
// filled when it is first asked for, and kept up to date from then on. Owned by the loop.
// All methods that do not fill it may be called on nil.
type directory struct {
	users      map[string][]*Socket // nil until a user is asked for
	serial     uint64               // of the last name
	names      map[*Socket]uint64   // serials of the sockets whose names were asked for; nil: none was
	named      map[uint64]*Socket   // those sockets by serial
	subscribed map[*Socket][]*socketSubscription
}

// fillDirectory returns the directory of the loop, a new one if it has none.
func (l *perLoop) fillDirectory() *directory {
	if l.directory == nil {
		l.directory = new(directory)
	}
	return l.directory
}

// The names of sockets begin with a text that no other process has, and the number of
// their endpoint in this process.
var (
	processName     = rand.Text()[:12]
	endpointNumbers atomic.Uint64
)

// User returns the name that the guard of the socket has for its user, "" if there is
// none: see [ClientGuard]. With package auth it is the claim sub of the token.
func (s *Socket) User() string {
	g, ok := s.Guard().(ClientGuard)
	if !ok {
		return ""
	}
	name, err := askClient(g)
	s.endpoint.reportPanic(err)
	return name
}

func askClient(g ClientGuard) (name string, err error) {
	defer callback.Recover("ClientGuard.Client", &err)
	return g.Client(), nil
}

// find returns the sockets of a loop that a target selects, in a new slice.
func (l *perLoop) find(t *Target) (found []*Socket) {
	switch {
	case t.User != "":
		d := l.fillDirectory()
		d.indexUsers(l.sockets)
		return slices.Clone(d.users[t.User])
	case t.SocketID != "":
		for s := l.ids.first[t.SocketID]; s != nil; s = s.identity.next {
			found = append(found, s)
		}
	case t.Socket != "":
		name := parseSocketName(t.Socket)
		if d := l.directory; d != nil && d.named[name.serial] != nil && d.nameOf(d.named[name.serial]) == name {
			found = append(found, d.named[name.serial])
		}
	}
	return found
}

// indexUsers fills the index of users, unless it is filled.
func (d *directory) indexUsers(sockets []*Socket) {
	if d.users != nil {
		return
	}
	d.users = make(map[string][]*Socket)
	for _, s := range sockets {
		d.add(s)
	}
}

// add adds a socket that has opened.
func (d *directory) add(s *Socket) {
	if d == nil || d.users == nil {
		return
	}
	if user := s.User(); user != "" {
		d.users[user] = append(d.users[user], s)
	}
}

// remove removes a socket that has closed.
func (d *directory) remove(s *Socket) {
	if d == nil {
		return
	}
	d.unsubscribeAll(s)
	if serial, ok := d.names[s]; ok {
		delete(d.names, s)
		delete(d.named, serial)
	}
	if d.users == nil {
		return
	}
	user := s.User()
	if user == "" {
		return
	}
	rest := slices.DeleteFunc(d.users[user], func(o *Socket) bool { return o == s })
	if len(rest) == 0 {
		delete(d.users, user)
	} else {
		d.users[user] = rest
	}
}

// serialOf returns the serial of a socket, and gives it one if it has none. The serials
// of a loop rise.
func (d *directory) serialOf(s *Socket) uint64 {
	serial, ok := d.names[s]
	if ok {
		return serial
	}
	if d.names == nil {
		d.names, d.named = make(map[*Socket]uint64), make(map[uint64]*Socket)
	}
	d.serial++
	d.names[s], d.named[d.serial] = d.serial, s
	return d.serial
}

// page returns at most limit sockets whose serials are above after, by serial. Sockets
// without a serial come last, and are given one if they are on the page.
func (d *directory) page(sockets []*Socket, after uint64, limit int) []*Socket {
	if limit <= 0 {
		limit = len(sockets)
	}
	var serials []uint64
	var unnamed []*Socket
	for _, s := range sockets {
		serial, ok := d.names[s]
		switch {
		case !ok && len(unnamed) < limit:
			unnamed = append(unnamed, s)
		case ok && serial > after:
			if serials = append(serials, serial); len(serials) >= 2*limit { // sorting all of them would take too long for a loop
				slices.Sort(serials)
				serials = serials[:limit]
			}
		}
	}
	slices.Sort(serials)
	page := make([]*Socket, 0, min(limit, len(serials)+len(unnamed)))
	for _, serial := range serials[:min(limit, len(serials))] {
		page = append(page, d.named[serial])
	}
	for _, s := range unnamed[:min(limit-len(page), len(unnamed))] {
		d.serialOf(s)
		page = append(page, s)
	}
	return page
}

// socketName is the name of a socket. It is unique on all nodes, even after the socket
// has closed. Names are ordered by their fields.
type socketName struct {
	endpoint string
	loop     int
	serial   uint64
}

// name returns the beginning of the names of the endpoint's sockets.
func (e *Endpoint) name() string { return processName + strconv.FormatUint(e.number, 36) }

// nameOf returns the name of a socket.
func (d *directory) nameOf(s *Socket) socketName {
	return socketName{s.endpoint.name(), s.loop.Index(), d.serialOf(s)}
}

func (n socketName) String() string {
	return n.endpoint + "-" + strconv.Itoa(n.loop) + "-" + strconv.FormatUint(n.serial, 36)
}

// parseSocketName returns the zero name for a text that is not a name.
func parseSocketName(text string) socketName {
	endpoint, rest, _ := strings.Cut(text, "-")
	loop, serial, _ := strings.Cut(rest, "-")
	n := socketName{endpoint: endpoint}
	var err, wrong error
	n.loop, err = strconv.Atoi(loop)
	if n.serial, wrong = strconv.ParseUint(serial, 36, 64); err != nil || wrong != nil {
		return socketName{}
	}
	return n
}

// CompareSockets compares two names of sockets, SocketInfo.Socket, in the order of
// [Endpoint.FindSockets].
func CompareSockets(a, b string) int {
	x, y := parseSocketName(a), parseSocketName(b)
	return cmp.Or(strings.Compare(x.endpoint, y.endpoint), cmp.Compare(x.loop, y.loop), cmp.Compare(x.serial, y.serial))
}
