package httpapi

import (
	"cmp"
	"crypto/sha256"
	"net/http"
	"slices"
	"strings"

	"github.com/mycelium-rt/mycelium/instances"
)

// Totals are the numbers of those who are connected, on all nodes of a cluster together.
type Totals struct {
	// Sockets is how many are connected.
	Sockets int64 `json:"sockets"`
	// Users is how many users are, each counted once. Sockets without a user are not among them.
	Users int `json:"users"`
	// Topics is how many topics have subscribers, each counted once.
	Topics int `json:"topics"`
	// Missing are the nodes of a cluster that did not answer, and that are not counted.
	Missing []string `json:"missing,omitempty"`
}

// partTotals is what a node answers another one. Users and topics are on several nodes at a
// time, so their names are compared; 64 bits of a hash take less room than these.
type partTotals struct {
	Sockets int64  `json:"sockets"`
	Users   []byte `json:"users"`
	Topics  []byte `json:"topics"`
}

func (a *API) totals(w http.ResponseWriter, r *request) error {
	stats, err := a.manager.Stats(r.id)
	if err != nil {
		return err
	}
	users, err := a.manager.UserNames(r.id)
	if err != nil {
		return err
	}
	list, err := a.manager.Topics(r.id, 0)
	if err != nil {
		return err
	}
	topics := make([]string, len(list))
	for i := range list {
		topics[i] = list[i].Topic
	}
	if a.isPart(r) {
		return answer(w, http.StatusOK, partTotals{stats.Connections, hashesOf(users), hashesOf(topics)})
	}
	all := Totals{Sockets: stats.Connections, Users: len(users), Topics: len(topics)}
	var others []partTotals
	if others, all.Missing = gather[partTotals](a, r); len(others) > 0 {
		usersOf, topicsOf := [][]byte{hashesOf(users)}, [][]byte{hashesOf(topics)}
		for _, o := range others {
			all.Sockets += o.Sockets
			usersOf, topicsOf = append(usersOf, o.Users), append(topicsOf, o.Topics)
		}
		all.Users, all.Topics = countDistinct(usersOf), countDistinct(topicsOf)
	}
	return answer(w, http.StatusOK, all)
}

// isPart reports whether another node asks, for its own answer.
func (a *API) isPart(r *request) bool { return a.isOfNode(r.Request) }

// isOfNode reports whether another node sends a request.
func (a *API) isOfNode(r *http.Request) bool {
	return a.options.Caller != nil && a.options.Caller(r) != ""
}

const hashBytes = 8

// hashesOf returns a hash of each name.
func hashesOf(names []string) []byte {
	list := make([]byte, 0, hashBytes*len(names))
	for _, name := range names {
		sum := sha256.Sum256([]byte(name))
		list = append(list, sum[:hashBytes]...)
	}
	return list
}

// countDistinct returns how many hashes there are in lists, each counted once.
func countDistinct(lists [][]byte) int {
	seen := make(map[[hashBytes]byte]struct{})
	for _, list := range lists {
		for ; len(list) >= hashBytes; list = list[hashBytes:] {
			seen[[hashBytes]byte(list)] = struct{}{}
		}
	}
	return len(seen)
}

// Topics are topics with subscribers.
type Topics struct {
	// Topics are those with the most subscribers. In a cluster these are counted on all nodes, for
	// topics that are among the 1,000 largest of each.
	Topics []instances.Topic `json:"topics"`
	// Missing are the nodes of a cluster that did not answer, and whose subscribers are not counted.
	Missing []string `json:"missing,omitempty"`
}

// partTopics is how many topics a node tells another one of.
const partTopics = 1000

func (a *API) topics(w http.ResponseWriter, r *request) error {
	limit, err := r.limit()
	if err != nil {
		return err
	}
	if a.isPart(r) {
		limit = partTopics
	}
	list, err := a.manager.Topics(r.id, max(limit, partTopics))
	if err != nil {
		return err
	}
	all := Topics{Topics: list}
	others, missing := gather[Topics](a, r)
	all.add(others)
	all.Topics, all.Missing = all.Topics[:min(len(all.Topics), limit)], missing
	return answer(w, http.StatusOK, all)
}

// add adds the subscribers on other nodes.
func (t *Topics) add(others []Topics) {
	if len(others) == 0 {
		return
	}
	sum := make(map[string]int)
	for _, o := range append(others, *t) {
		for _, one := range o.Topics {
			sum[one.Topic] += one.Subscribers
		}
	}
	t.Topics = make([]instances.Topic, 0, len(sum))
	for topic, n := range sum {
		t.Topics = append(t.Topics, instances.Topic{Topic: topic, Subscribers: n})
	}
	slices.SortFunc(t.Topics, func(a, b instances.Topic) int {
		return cmp.Or(cmp.Compare(b.Subscribers, a.Subscribers), strings.Compare(a.Topic, b.Topic))
	})
}
