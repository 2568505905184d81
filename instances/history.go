package instances

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mycelium-rt/mycelium/fielderr"
	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/internal/topics"
	"github.com/mycelium-rt/mycelium/units"
)

// HistoryRule says what is recorded on some topics of an instance, and how much of it
// is kept, so that clients that come back are sent what they missed. Of several rules
// the first whose topics match decides.
type HistoryRule struct {
	// Topics are patterns of topics: exact, or with a * at the end. Without any, the rule
	// is for all topics.
	Topics []string `json:"topics,omitempty"`
	// Events are patterns of the events that are recorded. Without any, all are.
	Events []string `json:"events,omitempty"`
	// Messages is how many messages of a topic are kept. The default is 100.
	Messages int `json:"messages,omitempty" jsonschema:"minimum=0,maximum=100000"`
	// Age is how long a message is kept. The default is 5m.
	Age units.Duration `json:"age,omitzero"`
	// Bytes bounds the messages of a topic together. The default is 256KiB.
	Bytes units.Bytes `json:"bytes,omitempty"`
	// OnJoin is how many of the last messages each client is sent that joins and does not
	// ask for others. The default is none.
	OnJoin int `json:"on_join,omitempty" jsonschema:"minimum=0,maximum=100000"`
	// Durable stores each message on disk before its sender is told that it was sent. The
	// server needs a directory for its data, or JetStream.
	Durable bool `json:"durable,omitempty"`
}

// Bounds of a HistoryRule.
const (
	maxHistoryRules    = 32
	maxHistoryMessages = 100_000
	maxHistoryAge      = 30 * 24 * time.Hour
	maxHistoryBytes    = 1 << 30
)

// Check returns what is wrong with the rule, as a [fielderr.List]; nil if nothing is.
func (r *HistoryRule) Check() error {
	var wrong fielderr.List
	for _, f := range []struct {
		name     string
		patterns []string
	}{{"/topics", r.Topics}, {"/events", r.Events}} {
		for _, p := range f.patterns {
			if _, err := topics.Parse(p); err != nil {
				wrong.Add(f.name, "has %q, which %v: write a whole name, or the beginning of one and a *", p, err)
			}
		}
	}
	for _, f := range []struct {
		name        string
		value, most int
	}{{"/messages", r.Messages, maxHistoryMessages}, {"/on_join", r.OnJoin, maxHistoryMessages}, {"/bytes", int(r.Bytes), maxHistoryBytes}} {
		if f.value < 0 || f.value > f.most {
			wrong.Add(f.name, "is %d: it must be from 0 to %d", f.value, f.most)
		}
	}
	if age := time.Duration(r.Age); age < 0 || age > maxHistoryAge {
		wrong.Add("/age", "is %v: it must be from 0s to %v", r.Age, units.Duration(maxHistoryAge))
	}
	return wrong.Err()
}

// checkHistory returns what is wrong with the rules of a spec.
func checkHistory(rules []HistoryRule) (wrong fielderr.List) {
	if len(rules) > maxHistoryRules {
		wrong.Add("/history", "has %d rules, at most %d are allowed", len(rules), maxHistoryRules)
	}
	for i := range rules {
		var below fielderr.List
		if err := rules[i].Check(); errors.As(err, &below) {
			wrong.AddBelow(fmt.Sprintf("/history/%d", i), below)
		}
	}
	return wrong
}

// cannotStore returns what is wrong with durable rules in a spec, because this server has no
// place for their messages.
func (m *Manager) cannotStore(spec *Spec) (wrong fielderr.List) {
	if m.options.History != nil && m.options.History.IsDurable() {
		return nil
	}
	for i, r := range spec.History {
		if r.Durable {
			wrong.Add(fmt.Sprintf("/history/%d/durable", i), "is true, and this server has no place to store messages: it needs a directory for its data (--data), or the shared instances of a cluster")
		}
	}
	return wrong
}

func equalHistory(a, b []HistoryRule) bool {
	return slices.EqualFunc(a, b, func(a, b HistoryRule) bool {
		return slices.Equal(a.Topics, b.Topics) && slices.Equal(a.Events, b.Events) &&
			a.Messages == b.Messages && a.Age == b.Age && a.Bytes == b.Bytes && a.OnJoin == b.OnJoin && a.Durable == b.Durable
	})
}

func cloneHistory(rules []HistoryRule) []HistoryRule {
	rules = slices.Clone(rules)
	for i := range rules {
		rules[i].Topics, rules[i].Events = slices.Clone(rules[i].Topics), slices.Clone(rules[i].Events)
	}
	return rules
}

// Recorder is a configuration of a type that has rules for its history, which apply
// unless the spec has rules of its own.
type Recorder interface {
	HistoryRules() []HistoryRule
}

// Erasure says which recorded messages of a topic are erased. The zero Erasure erases all.
type Erasure struct {
	// Message is the id of one message; the zero ID stands for more than one.
	Message history.ID
	// Before, if it is not zero, erases messages that were recorded before that time.
	Before time.Time
}

// Matches reports whether a message is erased.
func (e Erasure) Matches(m *history.Message) bool {
	switch {
	case e.Message != history.ID{}:
		return m.ID() == e.Message
	case !e.Before.IsZero():
		return m.Time.UnixMilli() < e.Before.UnixMilli()
	}
	return true
}

// apply erases messages of a topic, and returns how many there were.
func (e Erasure) apply(sp *history.Space, topic string) (n int, err error) {
	switch {
	case e.Message != history.ID{}:
		found, err := sp.Erase(topic, e.Message)
		if found {
			n = 1
		}
		return n, err
	case !e.Before.IsZero():
		return sp.TrimBefore(topic, e.Before)
	}
	return sp.Delete(topic)
}

// historyOf returns the space in which the broadcasts of all lives of an instance are
// recorded; nil if there is none.
func (m *Manager) historyOf(one *member, kind *Type) *history.Space {
	if one.trial || m.ownHistory && m.options.Bus != nil && one.spreads(kind) {
		return nil
	}
	sp := m.options.History.Open(one.id)
	if m.sharesHistory(one, kind) {
		if err := sp.Share(); err != nil {
			m.log.Error("the history of an instance is lost when another node takes it over").Err(err).Str("instance", one.id).Write()
		}
	}
	return sp
}

// sharesHistory reports whether the other nodes have the history of an instance that one
// node runs, so that it is still there when another of them takes over the instance.
func (m *Manager) sharesHistory(one *member, kind *Type) bool {
	return m.nodes != nil && !m.ownHistory && !one.declared && !one.trial && !one.spreads(kind)
}

// applyHistory applies the rules of an instance's spec, or else those of its type.
func (m *Manager) applyHistory(one *member, kind *Type, spec *Spec) {
	list := spec.History
	if len(list) == 0 && kind != nil {
		list = kind.records(spec.Config)
	}
	rules := make([]history.Rule, len(list))
	for i, r := range list {
		rules[i] = history.Rule{
			Topics: r.Topics, Events: r.Events, Messages: r.Messages,
			Age: time.Duration(r.Age), Bytes: int(r.Bytes), OnJoin: r.OnJoin, Durable: r.Durable,
		}
	}
	if err := m.options.History.Open(one.id).SetRules(rules); err != nil { // the spec was checked
		m.log.Error("the history rules of an instance cannot be applied").Err(err).Str("instance", one.id).Write()
	}
}

// recordedIn returns how much a space has recorded; nil if it has no rules.
func recordedIn(sp *history.Space) *Recorded {
	if sp == nil || len(sp.Rules()) == 0 {
		return nil
	}
	r := Recorded(sp.Size())
	return &r
}

// History returns what is recorded in an instance, after its type has loaded what it has
// saved of a topic. It returns ErrNoHistory if nothing is recorded. To delete messages,
// call [Manager.EraseHistory].
func (m *Manager) History(ctx context.Context, id, topic string) (*history.Space, error) {
	in, err := m.alive(id)
	if err != nil {
		return nil, err
	}
	sp := in.endpoint.History()
	if sp == nil || len(sp.Rules()) == 0 {
		return nil, ErrNoHistory
	}
	if h, ok := in.logic.(Archiver); ok {
		err = in.guard("LoadHistory", func() error { return h.LoadHistory(ctx, topic) })
		in.crashOn(err)
	}
	return sp, err
}

// EraseHistory erases recorded messages of a topic, in memory and where the type of the
// instance has saved them, and returns how many there were.
func (m *Manager) EraseHistory(ctx context.Context, id, topic string, e Erasure) (n int, err error) {
	sp, err := m.History(ctx, id, topic)
	if err != nil {
		return 0, err
	}
	in, err := m.alive(id)
	if err != nil {
		return 0, err
	}
	h, ok := in.logic.(Archiver)
	if !ok {
		return e.apply(sp, topic)
	}
	err = in.guard("EraseHistory", func() (err error) {
		n, err = h.EraseHistory(ctx, topic, e, func() (int, error) { return e.apply(sp, topic) })
		return err
	})
	in.crashOn(err)
	return n, err
}
