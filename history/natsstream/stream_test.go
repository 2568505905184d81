package natsstream_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mycelium-rt/mycelium/cluster/natscluster"
	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/history/natsstream"
	"github.com/mycelium-rt/mycelium/internal/waittest"
)

// patience is how long a test waits for what must happen on a loaded machine.
const patience = time.Minute

// home is a JetStream of this process.
type home struct {
	t         *testing.T
	dir       string
	transport *natscluster.Transport
}

func newHome(t *testing.T) *home {
	h := &home{t: t, dir: t.TempDir()}
	h.start()
	t.Cleanup(func() { h.stop() })
	return h
}

func (h *home) start() {
	h.t.Helper()
	var err error
	h.transport, err = natscluster.Embed(natscluster.EmbedOptions{Cluster: "test", Name: "a", StoreDir: h.dir})
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *home) stop() {
	if err := h.transport.Close(); err != nil {
		h.t.Error(err)
	}
}

// stream returns the stream, for a look at what is stored.
func (h *home) stream() jetstream.Stream {
	h.t.Helper()
	js, err := h.transport.OpenJetStream()
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(js.Conn().Close)
	s, err := js.Stream(h.t.Context(), natsstream.DefaultName)
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

func (h *home) messages() int {
	h.t.Helper()
	info, err := h.stream().Info(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	return int(info.State.Msgs)
}

// node is a store with its stream, and what its clients get.
type node struct {
	t      *testing.T
	store  *history.Store
	space  *history.Space
	stream *natsstream.Stream

	mu  sync.Mutex
	got []string // guarded by mu
}

func (n *node) Receive(_ string, m *history.Message, _ bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.got = append(n.got, string(m.Payload))
}

func (n *node) Mark(string, history.Position) {}

func (n *node) Lost([]string, history.Reason) {}

func (n *node) delivered() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.got, " ")
}

// node starts a store whose durable messages are in h.
func (h *home) node(rule history.Rule, o natsstream.Options) *node {
	h.t.Helper()
	o.MaxBytes = cmp.Or(o.MaxBytes, 64<<20) // JetStream wants that much to be free
	o.Open = func() (jetstream.JetStream, error) { return h.transport.OpenJetStream() }
	n := &node{t: h.t, store: history.NewStore(history.Options{})}
	n.stream = natsstream.New(n.store, o)
	n.space = n.store.Open("space")
	n.space.Attach(n)
	rule.Durable = true
	if err := n.space.SetRules([]history.Rule{rule}); err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	if err := n.stream.Loaded(ctx); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(n.close)
	return n
}

func (n *node) close() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.stream.Close(ctx); err != nil {
		n.t.Error(err)
	}
	n.store.Close()
}

// say stores a message and returns what the sender is told.
func (n *node) say(topic, text string) error {
	answer := make(chan error, 1)
	n.space.Append(topic, &history.Message{Event: "msg", Payload: []byte(text)}, func(err error) { answer <- err })
	select {
	case err := <-answer:
		return err
	case <-time.After(patience):
		return errors.New("no answer")
	}
}

func (n *node) mustSay(topic string, from, to int) {
	n.t.Helper()
	for i := from; i < to; i++ {
		if err := n.say(topic, fmt.Sprint("m", i)); err != nil {
			n.t.Fatal(err)
		}
	}
}

// has waits until the ring of a topic has these messages.
func (n *node) has(topic, want string) {
	n.t.Helper()
	waittest.For(n.t, fmt.Sprintf("%s has %q", topic, want), func() bool { return texts(n.space.Page(topic, history.Ask{})) == want })
}

func texts(p history.Page) string {
	var all []string
	for _, m := range p.Messages {
		all = append(all, string(m.Payload))
	}
	return strings.Join(all, " ")
}

// TestNodes: what one node stores is delivered once by each, in one order. A node that starts
// has it in its rings, delivers nothing of it, and understands the positions of the others.
func TestNodes(t *testing.T) {
	h := newHome(t)
	a, b := h.node(history.Rule{}, natsstream.Options{}), h.node(history.Rule{}, natsstream.Options{})
	a.mustSay("x", 0, 1)
	b.has("x", "m0")
	b.mustSay("x", 1, 2)
	a.has("x", "m0 m1")
	after := a.space.Page("x", history.Ask{Last: -1}).Next
	var answers sync.WaitGroup
	for i := range 100 {
		for _, n := range []*node{a, b} {
			answers.Add(1)
			n.space.Append("y", &history.Message{Event: "msg", Payload: fmt.Appendf(nil, "%d", i)}, func(err error) {
				if err != nil {
					t.Error(err)
				}
				answers.Done()
			})
		}
	}
	answers.Wait()
	b.mustSay("x", 2, 3)
	waittest.For(t, "all is delivered", func() bool { return strings.HasSuffix(a.delivered(), "m2") && strings.HasSuffix(b.delivered(), "m2") })
	if one, two := a.delivered(), b.delivered(); one != two || strings.Count(one, " ") != 202 {
		t.Errorf("delivered:\n%s\n%s", one, two)
	}
	binary := []byte{0xff, 0}
	done := make(chan error, 1)
	a.space.Append("x", &history.Message{Event: "raw", Payload: binary, Binary: true, Sender: 7}, func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	c := h.node(history.Rule{}, natsstream.Options{})
	if got := c.delivered(); got != "" {
		t.Errorf("what was there before is delivered: %s", got)
	}
	p := c.space.Since("x", after, 0)
	if texts(p) != "m2 "+string(binary) || p.Missing != "" {
		t.Fatalf("at a node that was started since: %+v", p)
	}
	if m := p.Messages[1]; !m.Binary || m.Sender != 7 || m.Event != "raw" {
		t.Errorf("%+v", m)
	}
	if missing := c.space.Since("x", history.Position{}, 0).Missing; missing != "" {
		t.Errorf("from the beginning: %s", missing)
	}
}

// TestTrim: the stream keeps one message more than the ring, from which a node that starts
// knows what is missing.
func TestTrim(t *testing.T) {
	h := newHome(t)
	rule := history.Rule{Messages: 10}
	a := h.node(rule, natsstream.Options{})
	a.mustSay("x", 0, 5)
	a.has("x", "m0 m1 m2 m3 m4")
	early := a.space.Page("x", history.Ask{Last: -1}).Next
	a.mustSay("x", 5, 30)
	a.has("x", "m20 m21 m22 m23 m24 m25 m26 m27 m28 m29")
	late := a.space.Since("x", early, 4).Next
	waittest.For(t, "the stream is trimmed", func() bool { return h.messages() <= 13 })
	b := h.node(rule, natsstream.Options{})
	b.has("x", "m20 m21 m22 m23 m24 m25 m26 m27 m28 m29")
	if p := b.space.Since("x", early, 0); p.Missing != history.Expired {
		t.Errorf("from before what was trimmed: %+v", p)
	}
	if p := b.space.Since("x", late, 0); p.Missing != "" || texts(p) != "m24 m25 m26 m27 m28 m29" {
		t.Errorf("from behind it: %+v", p)
	}
}

// TestErase: what is erased is erased in the stream and on all nodes.
func TestErase(t *testing.T) {
	h := newHome(t)
	a, b := h.node(history.Rule{}, natsstream.Options{}), h.node(history.Rule{}, natsstream.Options{})
	a.mustSay("x", 0, 4)
	a.mustSay("y", 0, 1)
	b.has("y", "m0")
	a.has("y", "m0")
	page := b.space.Page("x", history.Ask{})
	if found, err := b.space.Erase("x", page.Messages[1].ID()); !found || err != nil {
		t.Fatalf("%v %v", found, err)
	}
	a.has("x", "m0 m2 m3")
	if found, err := b.space.Erase("y", page.Messages[0].ID()); found || err != nil {
		t.Fatalf("a message of another topic: %v %v", found, err)
	}
	if n, err := a.space.TrimBefore("x", page.Messages[2].Time); err != nil || n > 1 { // times may be equal
		t.Fatalf("%d %v", n, err)
	}
	if n, err := a.space.Delete("x"); n < 2 || err != nil {
		t.Fatalf("%d %v", n, err)
	}
	b.has("x", "")
	a.mustSay("x", 4, 5)
	for _, n := range []*node{a, b, h.node(history.Rule{}, natsstream.Options{})} {
		n.has("x", "m4")
		n.has("y", "m0")
	}
	a.store.Forget("space")
	waittest.For(t, "what is forgotten leaves the stream", func() bool { return h.messages() == 0 })
}

// TestFull: while the stream is full, messages are refused with a reason; deleting makes
// room.
func TestFull(t *testing.T) {
	h := newHome(t)
	a := h.node(history.Rule{Bytes: 1 << 20}, natsstream.Options{MaxBytes: 64 << 10})
	var err error
	for i := 0; err == nil && i < 1000; i++ {
		err = a.say("x", strings.Repeat("x", 1000))
	}
	if !errors.Is(err, history.ErrNotStored) || !strings.Contains(err.Error(), "used up") {
		t.Fatal(err)
	}
	if n, err := a.space.Delete("x"); n < 20 || err != nil {
		t.Fatalf("%d %v", n, err)
	}
	a.mustSay("x", 0, 1)
}

// TestStopped: while JetStream is stopped, messages are refused and little waits. When it is
// back, they are stored, and positions are good.
func TestStopped(t *testing.T) {
	h := newHome(t)
	a := h.node(history.Rule{}, natsstream.Options{Timeout: 5 * time.Second})
	a.mustSay("x", 0, 2)
	a.has("x", "m0 m1")
	after := a.space.Page("x", history.Ask{Last: -1}).Next
	h.stop()
	var answers sync.WaitGroup
	var mu sync.Mutex
	reasons := make(map[string]int)
	for i := range 10_000 {
		answers.Add(1)
		a.space.Append("x", &history.Message{Event: "msg", Payload: fmt.Appendf(nil, "lost%d", i)}, func(err error) {
			defer answers.Done()
			mu.Lock()
			defer mu.Unlock()
			reasons[fmt.Sprint(err)]++
		})
	}
	answers.Wait()
	if reasons["<nil>"] > 0 || len(reasons) == 0 {
		t.Errorf("%v", reasons)
	}
	t.Log(reasons)
	if _, err := a.space.Delete("x"); !errors.Is(err, history.ErrNotErased) {
		t.Errorf("deleting: %v", err)
	}
	h.start()
	waittest.For(t, "messages are stored again", func() bool { return a.say("x", "m2") == nil })
	waittest.For(t, "they are delivered", func() bool { return strings.HasPrefix(a.delivered(), "m0 m1 m2") })
	if p := a.space.Since("x", after, 1); p.Missing != "" || texts(p) != "m2" {
		t.Errorf("%+v", p)
	}
}

// TestLostStream: a stream that was made again has numbers of its own: earlier positions
// are not understood, rather than misunderstood.
func TestLostStream(t *testing.T) {
	h := newHome(t)
	a := h.node(history.Rule{}, natsstream.Options{})
	a.mustSay("x", 0, 2)
	a.has("x", "m0 m1")
	after := a.space.Page("x", history.Ask{Last: -1}).Next
	js, err := h.transport.OpenJetStream()
	if err != nil {
		t.Fatal(err)
	}
	defer js.Conn().Close()
	if err := js.DeleteStream(t.Context(), natsstream.DefaultName); err != nil {
		t.Fatal(err)
	}
	waittest.For(t, "messages are stored again", func() bool { return a.say("x", "new") == nil })
	waittest.For(t, "the position is not understood", func() bool { return a.space.Since("x", after, 0).Missing == history.Unknown })
	b := h.node(history.Rule{}, natsstream.Options{})
	if p := b.space.Since("x", after, 0); p.Missing != history.Unknown {
		t.Errorf("%+v", p)
	}
}

// TestLongTopic: a message on a topic that is too long for a subject of NATS is refused, and
// others are stored as before.
func TestLongTopic(t *testing.T) {
	h := newHome(t)
	a := h.node(history.Rule{}, natsstream.Options{})
	longest := strings.Repeat("x", 2048)
	a.mustSay(longest, 0, 1)
	a.has(longest, "m0")
	want := "history: the message is not stored: the topic has 2049 bytes, and a durable one at most 2048"
	if err := a.say(longest+"x", "m1"); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if n, err := a.space.Delete(longest + "x"); n != 0 || err != nil {
		t.Errorf("deleting: %d, %v", n, err)
	}
	if n, err := a.space.Delete(longest); n != 1 || err != nil {
		t.Errorf("deleting the other: %d, %v", n, err)
	}
}
