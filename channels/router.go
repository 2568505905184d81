package channels

import (
	"fmt"
	"strings"
)

// router finds the channel of a topic. Patterns are tried in the order in
// which they were given, as Phoenix does.
type router struct {
	exact    map[string]int // topic → index of the first exact pattern
	prefixes []prefixRoute
	channels []*Channel
}

type prefixRoute struct {
	prefix string
	index  int
}

func newRouter(channels []*Channel) *router {
	r := &router{exact: make(map[string]int), channels: channels}
	patterns := make(map[string]bool)
	for i, ch := range channels {
		if patterns[ch.pattern] {
			panic(fmt.Sprintf("channels: two channels with the pattern %q: the second would never be joined", ch.pattern))
		}
		patterns[ch.pattern] = true
		ch.mount()
		prefix, wild := strings.CutSuffix(ch.pattern, "*")
		if wild {
			r.prefixes = append(r.prefixes, prefixRoute{prefix, i})
		} else {
			r.exact[prefix] = i
		}
	}
	return r
}

// match returns the channel for topic, nil if there is none.
func (r *router) match(topic []byte) *Channel {
	best, found := r.exact[string(topic)]
	for _, p := range r.prefixes {
		if found && p.index > best {
			break
		}
		if len(topic) >= len(p.prefix) && string(topic[:len(p.prefix)]) == p.prefix {
			return r.channels[p.index]
		}
	}
	if !found {
		return nil
	}
	return r.channels[best]
}

func checkPattern(pattern string) {
	if star := strings.IndexByte(pattern, '*'); star >= 0 && star != len(pattern)-1 {
		panic(fmt.Sprintf("channels: pattern %q: a * is possible only at the end", pattern))
	}
	if pattern == "" {
		panic("channels: an empty topic pattern")
	}
}
