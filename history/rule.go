package history

import (
	"cmp"
	"fmt"
	"sync"
	"time"

	"github.com/mycelium-rt/mycelium/internal/topics"
)

// Rule says what is recorded on some topics, and how much of it is kept. Of
// several rules the first whose topics match decides.
type Rule struct {
	// Topics are patterns of topics: exact, or a prefix and a *. None means all
	// topics.
	Topics []string
	// Events are patterns of the events that are recorded. None means all but
	// the protocol's own, which are never recorded.
	Events []string
	// Messages is how many messages of a topic are kept. The default is 100.
	Messages int
	// Age is how long a message is kept. The default is 5 minutes.
	Age time.Duration
	// Bytes bounds the messages of a topic together: their payloads, events and
	// some 20 bytes each. The default is 256 KiB.
	Bytes int
	// OnJoin is how many of the last messages are sent to each client that joins,
	// unless it asks for something else. The default is none.
	OnJoin int
	// Durable stores each message before its sender is told that it was sent; the store
	// needs a [Durable] for that.
	Durable bool
}

// Defaults of a Rule.
const (
	DefaultMessages = 100
	DefaultAge      = 5 * time.Minute
	DefaultBytes    = 256 << 10
)

// rule is a Rule that is in use.
type rule struct {
	// Static.
	Rule
	pending        bool // see newPending
	topics, events []topics.Pattern

	losses
}

// losses are what rings that no longer exist have lost.
type losses struct {
	mu    sync.Mutex // taken after a stripe's
	floor marks      // guarded by mu
	lost  int64      // guarded by mu
}

func newRule(r Rule) (*rule, error) {
	if r.Messages < 0 || r.Age < 0 || r.Bytes < 0 || r.OnJoin < 0 {
		return nil, fmt.Errorf("history: rule %+v has a negative bound", r)
	}
	c := &rule{Rule: r}
	c.Messages = cmp.Or(r.Messages, DefaultMessages)
	c.Age = cmp.Or(r.Age, DefaultAge)
	c.Bytes = cmp.Or(r.Bytes, DefaultBytes)
	var err error
	if c.topics, err = parsePatterns(r.Topics); err != nil {
		return nil, err
	}
	c.events, err = parsePatterns(r.Events)
	return c, err
}

func parsePatterns(texts []string) (patterns []topics.Pattern, err error) {
	for _, text := range texts {
		p, err := topics.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("history: pattern %q %w", text, err)
		}
		patterns = append(patterns, p)
	}
	return patterns, nil
}

func matchAny(patterns []topics.Pattern, text string) bool {
	for _, p := range patterns {
		if p.Match(text) {
			return true
		}
	}
	return len(patterns) == 0
}

// forget notes what a ring that is removed has lost.
func (l *losses) forget(floor marks, lost int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.floor.raiseAll(floor)
	l.lost = max(l.lost, lost)
}

// forgotten returns a copy of what removed rings have lost. A topic without a
// ring may have lost as much.
func (l *losses) forgotten() (marks, int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append(marks(nil), l.floor...), l.lost
}

// newPending returns the rule of a space whose rules are not known yet. Until they are,
// this rule applies to what other nodes record.
func newPending() *rule {
	return &rule{Rule: Rule{Messages: 1000, Age: time.Hour, Bytes: 1 << 20}, pending: true}
}

// pendingStored is the same for what the stream has stored, which has only what the rules
// permit. No ring is trimmed by it in the stream.
var pendingStored = &rule{Rule: Rule{Messages: 1 << 20, Age: 30 * 24 * time.Hour, Bytes: 1 << 30}, pending: true}

// rules are the rules of a space. They are replaced as a whole.
type rules []*rule

// of returns the rule for a topic, nil if it is not recorded.
func (rs rules) of(topic string) *rule {
	for _, r := range rs {
		if matchAny(r.topics, topic) {
			return r
		}
	}
	return nil
}

// records returns the rule for an event on a topic, nil if it is not recorded.
func (rs rules) records(topic, event string) *rule {
	if r := rs.of(topic); r != nil && matchAny(r.events, event) {
		return r
	}
	return nil
}
