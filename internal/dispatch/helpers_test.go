package dispatch_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mycelium-rt/mycelium/internal/dispatch"
)

// queue is an executor that runs tasks when the test says so.
type queue struct {
	tasks  []dispatch.Task
	closed bool
}

func (q *queue) Post(t dispatch.Task) bool {
	if q.closed {
		return false
	}
	q.tasks = append(q.tasks, t)
	return true
}

// run runs up to n tasks and reports how many there were.
func (q *queue) run(n int) int {
	n = min(n, len(q.tasks))
	for i := range n {
		q.tasks[i].Run()
		q.tasks[i] = nil
	}
	q.tasks = q.tasks[:copy(q.tasks, q.tasks[n:])]
	return n
}

// loop is an executor with a goroutine, as an event loop has.
type loop struct {
	mu     sync.Mutex
	wake   sync.Cond
	tasks  []dispatch.Task
	closed bool
	done   chan struct{}
}

func startLoop(t testing.TB) *loop {
	l := &loop{done: make(chan struct{})}
	l.wake.L = &l.mu
	go l.run()
	t.Cleanup(l.close)
	return l
}

func (l *loop) run() {
	defer close(l.done)
	for {
		l.mu.Lock()
		for len(l.tasks) == 0 && !l.closed {
			l.wake.Wait()
		}
		tasks := l.tasks
		l.tasks = nil
		l.mu.Unlock()
		if len(tasks) == 0 {
			return
		}
		for _, t := range tasks {
			t.Run()
		}
	}
}

func (l *loop) Post(t dispatch.Task) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.tasks = append(l.tasks, t)
	l.wake.Signal()
	return true
}

func (l *loop) close() {
	l.mu.Lock()
	l.closed = true
	l.wake.Signal()
	l.mu.Unlock()
	<-l.done
}

type taskFunc func()

func (f taskFunc) Run() { f() }

// do runs f on the loop and waits for it.
func (l *loop) do(f func()) {
	done := make(chan struct{})
	l.Post(taskFunc(func() { f(); close(done) }))
	<-done
}

// message is a string with a reference count.
type message struct {
	text string
	refs atomic.Int32
}

func newMessage(text string) *message {
	m := &message{text: text}
	m.refs.Store(1)
	return m
}

func (m *message) Retain(n int32) { m.refs.Add(n) }

func (m *message) Release() {
	if m.refs.Add(-1) < 0 {
		panic("released too often")
	}
}

// client is a subscriber that keeps what it gets; owned by its shard.
type client struct {
	sub dispatch.Subscription
	got []string
}

func (c *client) Subscription() *dispatch.Subscription { return &c.sub }

// keep is a dispatcher that gives each client the message's text.
type keep struct{}

func (keep) Dispatch(subs []dispatch.Subscriber, from any, m dispatch.Message) {
	text := m.(*message).text
	for _, s := range subs {
		if s != from {
			c := s.(*client)
			c.got = append(c.got, text)
		}
	}
}

// textCodec writes messages as their text, which must not be "bad".
type textCodec struct{}

func (textCodec) Encode(_ string, m dispatch.Message) []byte { return []byte(m.(*message).text) }

func (textCodec) Decode(_ string, data []byte) (dispatch.Message, error) {
	if string(data) == "bad" {
		return nil, errors.New("bad message")
	}
	return newMessage(string(data)), nil
}

func newPubSub(t testing.TB, o dispatch.Options, shards ...dispatch.Executor) *dispatch.PubSub {
	t.Helper()
	p, err := dispatch.New(shards, keep{}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}
