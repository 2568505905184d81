package channels

import (
	"iter"
	"sync"
)

// Topics yields each topic of this node that has subscribers, with their number
// and in no order: those who have joined it, the sockets whose id it is, and the
// program's own. For tools: no lock is held while it yields, and topics that
// come or go meanwhile may be missed.
func (e *Endpoint) Topics() iter.Seq2[string, int] { return e.pubsub.Topics() }

// SocketInfo is one connected client, for tools.
type SocketInfo struct {
	ID        string   `json:"id,omitempty"`                                        // by which it can be disconnected
	Transport string   `json:"transport" jsonschema:"enum=websocket,enum=longpoll"` // websocket or longpoll
	Topics    []string `json:"topics"`                                              // that it has joined
}

// Sockets returns up to limit of the connected sockets, 0: all. It asks the
// event loops and waits for them, and must not be called on one.
func (e *Endpoint) Sockets(limit int) []SocketInfo {
	lists := make([][]SocketInfo, len(e.perLoop))
	var wg sync.WaitGroup
	for i := range e.perLoop {
		wg.Go(func() { e.onLoop(i, func() { lists[i] = e.perLoop[i].inspect(limit) }) })
	}
	wg.Wait()
	all := []SocketInfo{}
	for _, list := range lists {
		all = append(all, list...)
	}
	if limit > 0 && len(all) > limit {
		all = all[:limit]
	}
	return all
}

func (l *perLoop) inspect(limit int) (list []SocketInfo) {
	for _, s := range l.sockets {
		if limit > 0 && len(list) == limit {
			break
		}
		info := SocketInfo{ID: s.ID(), Transport: s.Transport(), Topics: []string{}}
		for _, c := range s.channels.all() {
			if c.life.view == joined {
				info.Topics = append(info.Topics, c.topic)
			}
		}
		list = append(list, info)
	}
	return list
}
