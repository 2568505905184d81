package chat

import (
	"cmp"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
)

// holder stands for a client in the list of saved backlogs. It has too few bits
// to reveal a name or address, and enough that two clients rarely share one.
type holder uint16

// holderOf returns the holder of a room that a socket opens. Clients that
// cannot be told apart are told apart by socket. The application is holder 0.
func holderOf(s *channels.Socket) holder {
	if s == nil {
		return 0
	}
	name := s.Client()
	if name == "" {
		name = fmt.Sprintf("%p", s)
	}
	h := fnv.New64a()
	h.Write([]byte(name)) // writing to a hash does not fail
	return holder(h.Sum64())
}

// listing is a room with a saved backlog.
type listing struct {
	At time.Time `json:"at"` // time of the last message; see listParts
	By holder    `json:"by"`
}

// UnmarshalJSON also reads the form of earlier versions: only the time.
func (l *listing) UnmarshalJSON(data []byte) error {
	if data[0] == '"' {
		return json.Unmarshal(data, &l.At)
	}
	type plain listing
	return json.Unmarshal(data, (*plain)(l))
}

// surplus returns the rooms whose backlogs are dropped, because they have
// expired or there are too many. In the latter case the holder with the most
// rooms loses the one that was silent longest, repeatedly, so a client that
// writes to a thousand rooms loses its own backlogs. The caller holds saving.
func (r *rooms) surplus(now time.Time) (keys []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	closed := make(map[holder][]string)
	has := make(map[holder]int)
	age := r.longest()
	age += age / listParts // what it may be off after a restart
	for key, l := range r.listed {
		switch {
		case r.open[key] != nil: // it would only be saved again
			has[l.By]++
		case now.Sub(l.At) > age:
			keys = append(keys, key)
		default:
			has[l.By]++
			closed[l.By] = append(closed[l.By], key)
		}
	}
	extra := len(r.listed) - len(keys) - r.most
	if extra <= 0 {
		return keys
	}
	for _, list := range closed {
		slices.SortFunc(list, r.bySilence)
	}
	for ; extra > 0 && len(closed) > 0; extra-- {
		by := r.richest(closed, has)
		keys = append(keys, closed[by][0])
		has[by]--
		if closed[by] = closed[by][1:]; len(closed[by]) == 0 {
			delete(closed, by)
		}
	}
	return keys
}

func (r *rooms) bySilence(a, b string) int {
	return cmp.Or(r.listed[a].At.Compare(r.listed[b].At), cmp.Compare(a, b))
}

// richest returns the holder with the most rooms among those that have a closed
// one; of two with as many, the one whose room was silent longest.
func (r *rooms) richest(closed map[holder][]string, has map[holder]int) (most holder) {
	first := true
	for by := range closed {
		if first || has[by] > has[most] || has[by] == has[most] && r.bySilence(closed[by][0], closed[most][0]) < 0 {
			most, first = by, false
		}
	}
	return most
}
