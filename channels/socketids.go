package channels

import (
	"bytes"
	"strings"

	"github.com/mycelium-rt/mycelium/internal/netloop"
)

// socketIDs holds the sockets of one loop by the ids that Connect gave them. An
// id is not a topic: a client can neither join it nor publish to it. Owned by
// the loop; the zero value is ready to use.
//
// Sockets with the same id form a list by identity.next and prev.
type socketIDs struct {
	first map[string]*Socket
	peak  int // the most ids since first was made
}

// remakeAbove is the peak above which a map is rebuilt when it is down to a
// quarter, because Go's maps do not shrink.
const remakeAbove = 128

func (ids *socketIDs) add(s *Socket) {
	i := s.identity
	if i.next = ids.first[i.id]; i.next != nil {
		i.next.identity.prev = s
	}
	if ids.first == nil {
		ids.first = make(map[string]*Socket)
	}
	ids.first[i.id] = s
	ids.peak = max(ids.peak, len(ids.first))
}

func (ids *socketIDs) remove(s *Socket) {
	i := s.identity
	if i.next != nil {
		i.next.identity.prev = i.prev
	}
	switch {
	case i.prev != nil:
		i.prev.identity.next = i.next
	case i.next != nil:
		ids.first[i.id] = i.next
	default:
		ids.delete(i.id)
	}
	i.next, i.prev = nil, nil
}

func (ids *socketIDs) delete(id string) {
	delete(ids.first, id)
	if ids.peak < remakeAbove || len(ids.first) > ids.peak/4 {
		return
	}
	first := make(map[string]*Socket, len(ids.first))
	for id, s := range ids.first {
		first[id] = s
	}
	ids.first, ids.peak = first, len(first)
}

// disconnect closes the sockets with an id, with a code after which clients
// reconnect (assets/js/phoenix/socket.js, onConnClose).
func (ids *socketIDs) disconnect(id string) {
	for s := ids.first[id]; s != nil; {
		next := s.identity.next // closing removes s from the list
		s.closeNow(closeGoingAway, "")
		s = next
	}
}

// Disconnect closes all sockets whose id is socketID, here and on the other
// nodes of the bus. Clients reconnect: the close code is 1001.
//
// Subscriptions to socketID by [Endpoint.Subscribe] receive an event
// "disconnect" with the payload {}, on every node. Clients that have joined a
// topic of that name get nothing, and what is broadcast to it closes no socket.
func (e *Endpoint) Disconnect(socketID string) error {
	if err := e.disconnectHere(socketID); err != nil {
		return err
	}
	return e.sent(e.pubsub.SendControl([]byte(controlDisconnect + socketID)))
}

// disconnectHere is Disconnect for this node.
func (e *Endpoint) disconnectHere(socketID string) error {
	for i, lane := range e.tenant.Lanes() {
		lane.Post(netloop.TaskFunc(func() { e.perLoop[i].ids.disconnect(socketID) }))
	}
	b, err := newBroadcast(socketID, "disconnect", Payload{Data: emptyObject})
	if err != nil {
		return err
	}
	b.control = true
	return e.pubsub.BroadcastLocal(socketID, b, nil)
}

// controlDisconnect begins the message by which a node asks the others to close
// the sockets with the id that follows.
const controlDisconnect = "disconnect "

// handleControl handles a control message of another node, on the bus's
// goroutine.
func (e *Endpoint) handleControl(data []byte) {
	if text, ok := bytes.CutPrefix(data, []byte(controlOrder)); ok {
		o, err := decodeOrder(text)
		if err != nil {
			e.log.Warn("order of another node not understood").Err(err).Write()
			return
		}
		e.orderHere(o)
		return
	}
	id, ok := strings.CutPrefix(string(data), controlDisconnect)
	if !ok {
		e.log.Warn("control message of another node not understood").Str("message", string(data)).Write()
		return
	}
	if err := e.disconnectHere(id); err != nil {
		e.log.Debug("disconnect of another node not carried out").Err(err).Write()
	}
}
