package history_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/history"
)

// clock is a time that a test sets. A store's timer reads it too.
type clock struct {
	mu   sync.Mutex
	time time.Time
}

func newClock() *clock { return &clock{time: time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.time
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.time = c.time.Add(d)
}

// open returns a store with one space.
func open(t testing.TB, o history.Options, rules ...history.Rule) (*history.Store, *history.Space) {
	t.Helper()
	s := history.NewStore(o)
	t.Cleanup(s.Close)
	return s, space(t, s, rules...)
}

func space(t testing.TB, s *history.Store, rules ...history.Rule) *history.Space {
	t.Helper()
	sp, err := s.Space("", rules)
	if err != nil {
		t.Fatal(err)
	}
	return sp
}

// record records a text and returns the message.
func record(sp *history.Space, topic, text string) history.Message {
	m := history.Message{Event: "msg", Payload: []byte(text)}
	sp.Record(topic, &m, func(bool) {})
	return m
}

// texts returns the payloads of messages, separated by spaces.
func texts(list []history.Message) string {
	all := make([]string, len(list))
	for i := range list {
		all[i] = string(list[i].Payload)
	}
	return strings.Join(all, " ")
}

// now returns the position after everything on a topic.
func now(sp *history.Space, topic string) history.Position {
	return sp.Page(topic, history.Ask{Last: -1}).Next
}

// wantPage checks the messages of a page and why some are missing.
func wantPage(t testing.TB, p history.Page, messages string, missing history.Reason) {
	t.Helper()
	if got := texts(p.Messages); got != messages || p.Missing != missing {
		t.Errorf("got %q, missing %q; want %q, missing %q", got, p.Missing, messages, missing)
	}
}

func fill(sp *history.Space, topic string, from, to int) {
	for i := from; i < to; i++ {
		record(sp, topic, fmt.Sprint("m", i))
	}
}

// listener is a receiver that keeps the texts it gets.
type listener struct {
	got  []string
	lost []string
	mark func(topic string, p history.Position)
}

func (l *listener) Receive(_ string, m *history.Message, _ bool) {
	l.got = append(l.got, string(m.Payload))
}

func (l *listener) Lost(topics []string, why history.Reason) {
	l.lost = append(l.lost, fmt.Sprint(topics, " ", why))
}

func (l *listener) Mark(topic string, p history.Position) {
	if l.mark != nil {
		l.mark(topic, p)
	}
}
