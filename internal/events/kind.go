package events

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/mycelium-rt/mycelium/internal/topics"
)

// Kind is the kind of an event. Outboxes store its number, which must therefore not
// change.
type Kind uint8

// The kinds of events.
const (
	Connected    Kind = iota + 1 // a client has connected
	Disconnected                 // its connection has ended
	Joined                       // a client has joined a topic
	Left                         // it has left
	Occupied                     // somebody has joined a topic that nobody had joined
	Vacated                      // nobody has joined the topic any more
	Presence                     // a presence was tracked, updated or has ended
	Published                    // a message was broadcast to a topic
	Lost                         // events could not be stored or delivered
	Test                         // somebody tests a hook
	kindCount
)

var kindNames = [kindCount]string{
	"", "connected", "disconnected", "joined", "left", "occupied", "vacated", "presence", "published", "lost", "test",
}

func (k Kind) String() string {
	if k >= kindCount {
		return "unknown"
	}
	return kindNames[k]
}

// Names returns the names of the kinds that can be selected.
func Names() []string { return slices.Clone(kindNames[Connected:Lost]) }

// kindSet is a set of kinds, as bits.
type kindSet uint16

func (s kindSet) has(k Kind) bool { return s&(1<<k) != 0 }

// opening maps each kind that ends something to the kind that begins it. If an end is
// selected, the beginning is stored too, so that after a crash the end of what had begun
// can be sent.
var opening = map[Kind]Kind{Disconnected: Connected, Left: Joined, Vacated: Occupied}

// Selection selects events by kind, topic and event name. Its zero value selects none.
type Selection struct {
	kinds  kindSet
	topics []topics.Pattern // none: all
	events []topics.Pattern // of published messages; none: all
}

// Select returns a selection of kinds, by name, and of topics and events of published
// messages, by pattern. Without kinds, all are selected; without patterns, all topics or
// events.
func Select(kinds, topicPatterns, eventPatterns []string) (s Selection, err error) {
	if len(kinds) == 0 {
		kinds = Names()
	}
	for _, name := range kinds {
		i := slices.Index(kindNames[:Lost], name)
		if i < 1 {
			return s, fmt.Errorf("unknown event %q; the events are %s", name, strings.Join(Names(), ", "))
		}
		s.kinds |= 1 << i
	}
	if s.topics, err = parseAll(topicPatterns); err == nil {
		s.events, err = parseAll(eventPatterns)
	}
	return s, err
}

func parseAll(texts []string) (list []topics.Pattern, err error) {
	for _, text := range texts {
		p, err := topics.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("pattern %q %w", text, err)
		}
		if p == topics.Prefix("") {
			return nil, nil // everything
		}
		list = append(list, p)
	}
	return list, nil
}

// takes reports whether an event is selected. event is the name in a published message.
func (s *Selection) takes(k Kind, topic, event string) bool {
	return s.kinds.has(k) && s.on(k, topic) && (k != Published || anyMatches(s.events, event))
}

// on reports whether the topic of an event of kind k is selected. Connected and
// Disconnected have no topic.
func (s *Selection) on(k Kind, topic string) bool {
	return k == Connected || k == Disconnected || anyMatches(s.topics, topic)
}

// needs reports whether an event must be stored for the selection.
func (s *Selection) needs(k Kind, topic, event string) bool {
	if s.takes(k, topic, event) {
		return true
	}
	for end, begin := range opening {
		if begin == k && s.kinds.has(end) && s.on(k, topic) {
			return true
		}
	}
	return false
}

func anyMatches(patterns []topics.Pattern, text string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p topics.Pattern) bool { return p.Match(text) })
}

// union is the selections of all listeners of a stream. It is immutable.
type union struct{ all []Selection }

func (u *union) needs(k Kind, topic, event string) bool {
	for i := range u.all {
		if u.all[i].needs(k, topic, event) {
			return true
		}
	}
	return false
}

// publishes reports whether a message to a topic may have to be stored.
func (u *union) publishes(topic string) bool {
	for i := range u.all {
		if s := &u.all[i]; s.kinds.has(Published) && s.on(Published, topic) {
			return true
		}
	}
	return false
}

const publishedPrefix = `"type":"published","event":`

// publishedEvent returns the event of a published message from its stored body.
func publishedEvent(body []byte) (event string) {
	if len(body) < len(publishedPrefix) {
		return ""
	}
	text := body[len(publishedPrefix):]
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			json.Unmarshal(text[:i+1], &event) //nolint:errcheck // it is what this package has written
			return event
		}
	}
	return ""
}
