package channels

import (
	"fmt"

	"github.com/mycelium-rt/mycelium/internal/topics"
)

// router finds the channel of a topic. Patterns are tried in the order in which
// they were given, as in Phoenix.
type router struct {
	exact    map[string]int // topic → index of its exact pattern
	wild     []int          // indexes of the patterns with a *
	channels []*Channel
}

func newRouter(channels []*Channel) *router {
	r := &router{exact: make(map[string]int), channels: channels}
	patterns := make(map[topics.Pattern]bool)
	for i, ch := range channels {
		if patterns[ch.pattern] {
			panic(fmt.Sprintf("channels: two channels with the pattern %q: the second would never be joined", ch.pattern))
		}
		patterns[ch.pattern] = true
		ch.mount()
		if ch.pattern.Wild() {
			r.wild = append(r.wild, i)
		} else {
			r.exact[ch.pattern.String()] = i
		}
	}
	return r
}

// match returns the channel for topic, nil if there is none.
func (r *router) match(topic []byte) *Channel {
	best, found := r.exact[string(topic)]
	for _, i := range r.wild {
		if found && i > best {
			break
		}
		if ch := r.channels[i]; ch.pattern.MatchBytes(topic) {
			return ch
		}
	}
	if !found {
		return nil
	}
	return r.channels[best]
}
