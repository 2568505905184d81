package channels

import (
	"iter"
	"sync"
)

// Topics yields each topic that has subscribers on this node, with their number
// and in no order. Subscribers are the channels that have joined it, and those
// of [Context.Subscribe] and [Endpoint.Subscribe]. Topics that come or go
// meanwhile may be missed.
func (e *Endpoint) Topics() iter.Seq2[string, int] { return e.pubsub.Topics() }

// SocketInfo describes a connected client, for tools.
type SocketInfo struct {
	ID        string   `json:"id,omitempty"`                                        // the id by which it can be disconnected
	Transport string   `json:"transport" jsonschema:"enum=websocket,enum=longpoll"` // websocket or longpoll
	Topics    []string `json:"topics"`                                              // topics that it has joined
}

// Sockets returns at most limit of the connected sockets, or all if limit is 0.
// It waits for the event loops and must not be called on one.
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
