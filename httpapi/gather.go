package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
)

// Peer is another node of a cluster, for what all nodes must be asked.
type Peer struct {
	// Name is the name of the node.
	Name string
	// Ask has the node answer a request that this API has permitted for the key named
	// caller. It returns false, and answers nothing, if the node cannot be asked.
	Ask func(w http.ResponseWriter, r *http.Request, caller string) bool
}

// gatherTimeout bounds how long a node is waited for.
const gatherTimeout = 3 * time.Second

// gather asks the other nodes that run an instance the same as this one was asked, and
// decodes their answers. It returns the names of the nodes that did not answer. Of what
// another node asks, only this node's part is wanted.
func gather[T any](a *API, r *request) (answers []T, missing []string) {
	if a.options.Peers == nil || a.isPart(r) || !a.manager.Spreads(r.id) {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), gatherTimeout)
	defer cancel()
	var all sync.WaitGroup
	var mu sync.Mutex
	for _, p := range a.options.Peers() {
		all.Go(func() {
			var one T
			w := newRecorded()
			ok := p.Ask(w, r.Clone(ctx), r.who.key.Name) && w.status == http.StatusOK && json.Unmarshal(w.body.Bytes(), &one) == nil
			mu.Lock()
			defer mu.Unlock()
			if ok {
				answers = append(answers, one)
			} else {
				missing = append(missing, p.Name)
			}
		})
	}
	all.Wait()
	slices.Sort(missing)
	return answers, missing
}

// addSockets makes one page of a page of this node and those of others, which were made
// for the same query.
func (s *Sockets) addSockets(others []Sockets, limit int) {
	more := s.Next != ""
	for _, o := range others {
		s.Sockets = append(s.Sockets, o.Sockets...)
		more = more || o.Next != ""
	}
	slices.SortFunc(s.Sockets, func(a, b channels.SocketInfo) int { return channels.CompareSockets(a.Socket, b.Socket) })
	if len(s.Sockets) > limit {
		s.Sockets, more = s.Sockets[:limit], true
	}
	if s.Next = ""; more && len(s.Sockets) > 0 {
		s.Next = s.Sockets[len(s.Sockets)-1].Socket
	}
}

// addUsers does the same for users, who may be connected to several nodes.
func (u *Users) addUsers(others []Users, limit int) {
	more := u.Next != ""
	all := u.Users
	for _, o := range others {
		all = append(all, o.Users...)
		more = more || o.Next != ""
	}
	slices.SortStableFunc(all, func(a, b channels.UserInfo) int { return strings.Compare(a.User, b.User) })
	u.Users = []channels.UserInfo{}
	for _, one := range all {
		last := len(u.Users) - 1
		if last < 0 || u.Users[last].User != one.User {
			u.Users = append(u.Users, one)
			continue
		}
		same := &u.Users[last]
		same.Sockets += one.Sockets
		same.Topics = append(same.Topics, one.Topics...)
		slices.Sort(same.Topics)
		same.Topics = slices.Compact(same.Topics)
	}
	if len(u.Users) > limit {
		u.Users, more = u.Users[:limit], true
	}
	if u.Next = ""; more && len(u.Users) > 0 {
		u.Next = u.Users[len(u.Users)-1].User
	}
}
