package channels

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Topics yields each topic that has subscribers on this node, and their number, in no
// particular order. Subscribers are the channels that have joined it, and those of
// [Context.Subscribe], [Endpoint.Subscribe] and [Audience.Subscribe]. Topics that come or
// go meanwhile may be missed.
func (e *Endpoint) Topics() iter.Seq2[string, int] { return e.pubsub.Topics() }

// SocketInfo describes a connected client, for tools.
type SocketInfo struct {
	Socket     string   `json:"socket"`                                                       // the unique name of the socket, by which a Target selects it
	ID         string   `json:"id,omitempty"`                                                 // the id by which it can be disconnected
	User       string   `json:"user,omitempty"`                                               // the user, if its guard knows one
	Transport  string   `json:"transport" jsonschema:"enum=websocket,enum=longpoll,enum=tcp"` // websocket, longpoll or tcp
	Topics     []string `json:"topics"`                                                       // topics that it has joined
	Subscribed []string `json:"subscribed,omitempty"`                                         // topics that the server has subscribed it to
	// Certificate is that with which the client has identified itself, nil if it has
	// none.
	Certificate *ClientCertificate `json:"certificate,omitempty"`
}

// SocketQuery selects sockets of this node. The zero value selects all.
type SocketQuery struct {
	// Target, unless it is zero, selects the sockets of a user, those with an id, or a
	// single one.
	Target Target
	// After continues after the last socket of the page before.
	After string
	// Limit is the size of a page; 0 means that there is no limit.
	Limit int
}

// Sockets returns at most limit of the connected sockets, or all if limit is 0.
// It waits for the event loops and must not be called on one.
func (e *Endpoint) Sockets(limit int) []SocketInfo {
	return e.FindSockets(SocketQuery{Limit: limit})
}

// FindSockets returns a page of the connected sockets of this node, in the order of
// their names. Every socket that stays connected is on exactly one page. It waits for
// the event loops and must not be called on one.
func (e *Endpoint) FindSockets(q SocketQuery) []SocketInfo {
	lists := make([][]SocketInfo, len(e.perLoop))
	e.onLoops(func(i int, l *perLoop) { lists[i] = l.inspect(e, i, &q) })
	all := slices.Concat(lists...) // in order: names begin with the loop
	if q.Limit > 0 && len(all) > q.Limit {
		all = all[:q.Limit]
	}
	if all == nil {
		all = []SocketInfo{}
	}
	return all
}

// onLoops calls f on each loop, and waits.
func (e *Endpoint) onLoops(f func(i int, l *perLoop)) {
	var wg sync.WaitGroup
	for i := range e.perLoop {
		wg.Go(func() { e.onLoop(i, func() { f(i, &e.perLoop[i]) }) })
	}
	wg.Wait()
}

// inspect returns the part of a page that is on loop i.
func (l *perLoop) inspect(e *Endpoint, i int, q *SocketQuery) (list []SocketInfo) {
	after := uint64(0)
	if q.After != "" {
		last := parseSocketName(q.After)
		switch cmp.Or(strings.Compare(last.endpoint, e.name()), cmp.Compare(last.loop, i)) {
		case 0:
			after = last.serial
		case 1: // all of this loop were on earlier pages
			return nil
		}
	}
	sockets := l.sockets
	if q.Target != (Target{}) {
		sockets = l.find(&q.Target)
	}
	for _, s := range l.fillDirectory().page(sockets, after, q.Limit) {
		list = append(list, l.describe(s))
	}
	return list
}

func (l *perLoop) describe(s *Socket) SocketInfo {
	info := SocketInfo{Socket: l.directory.nameOf(s).String(), ID: s.ID(), User: s.User(), Transport: s.Transport(), Topics: []string{}, Certificate: s.Certificate()}
	s.eachJoined(func(topic string) { info.Topics = append(info.Topics, topic) })
	for _, sub := range l.directory.subscribed[s] {
		info.Subscribed = append(info.Subscribed, sub.topic)
	}
	return info
}

// UserInfo describes the sockets of a user, for tools.
type UserInfo struct {
	User    string   `json:"user"`
	Sockets int      `json:"sockets"` // how many are connected
	Topics  []string `json:"topics"`  // topics that they have joined, by name
}

// UserNames returns the users of this node's sockets, each once and in the order of their
// names. It waits for the event loops and must not be called on one.
func (e *Endpoint) UserNames() []string {
	names := make([][]string, len(e.perLoop))
	e.onLoops(func(i int, l *perLoop) {
		l.fillDirectory().indexUsers(l.sockets)
		names[i] = slices.Collect(maps.Keys(l.directory.users))
	})
	all := slices.Concat(names...)
	slices.Sort(all)
	return slices.Compact(all)
}

// Users returns at most limit users of this node's sockets, or all if limit is 0, in the
// order of their names, beginning behind the name after. It waits for the event loops and
// must not be called on one.
func (e *Endpoint) Users(after string, limit int) []UserInfo {
	page := slices.DeleteFunc(e.UserNames(), func(user string) bool { return user <= after })
	if limit > 0 && len(page) > limit {
		page = page[:limit]
	}
	list := make([]UserInfo, len(page))
	var mu sync.Mutex
	topics := make([]map[string]struct{}, len(page))
	for i, user := range page {
		list[i].User, topics[i] = user, make(map[string]struct{})
	}
	e.onLoops(func(_ int, l *perLoop) {
		mu.Lock()
		defer mu.Unlock()
		for i, user := range page {
			for _, s := range l.fillDirectory().users[user] {
				list[i].Sockets++
				s.eachJoined(func(topic string) { topics[i][topic] = struct{}{} })
			}
		}
	})
	for i := range list {
		list[i].Topics = slices.AppendSeq([]string{}, maps.Keys(topics[i]))
		slices.Sort(list[i].Topics)
	}
	return slices.DeleteFunc(list, func(u UserInfo) bool { return u.Sockets == 0 }) // gone meanwhile
}

func (s *Socket) eachJoined(f func(topic string)) {
	for _, c := range s.channels.all() {
		if c.life.view == joined {
			f(c.topic)
		}
	}
}
