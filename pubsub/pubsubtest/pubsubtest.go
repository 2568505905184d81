// Package pubsubtest has the tests that every implementation of [pubsub.Bus] must pass.
package pubsubtest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/waittest"
	"github.com/mycelium-rt/mycelium/pubsub"
)

// Run tests a bus. connect returns the buses of two nodes that reach each other, which are not open yet. It is called once for each
// test, and may register cleanups with t. The tests open and close the buses.
func Run(t *testing.T, connect func(t *testing.T) (a, b pubsub.Bus)) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, a, b *node)
	}{
		{"Order", testOrder},
		{"OrderPerPublisher", testOrderPerPublisher},
		{"BothWays", testBothWays},
		{"NoEcho", testNoEcho},
		{"OnlyInterested", testOnlyInterested},
		{"InterestOffAndOn", testInterestOffAndOn},
		{"AnyTopic", testAnyTopic},
		{"AnyData", testAnyData},
		{"DataNotKept", testDataNotKept},
		{"Concurrent", testConcurrent},
		{"Close", testClose},
		{"CloseWhileReceiving", testCloseWhileReceiving},
	} {
		t.Run(test.name, func(t *testing.T) {
			busA, busB := connect(t)
			test.run(t, open(t, busA), open(t, busB))
		})
	}
}

// node is a bus and what it has received.
type node struct {
	pubsub.Bus
	mu       sync.Mutex
	received map[string][]string // by topic, guarded by mu
	probes   int                 // owned by the test's goroutine
}

func open(t *testing.T, bus pubsub.Bus) *node {
	n := &node{Bus: bus, received: make(map[string][]string)}
	err := bus.Open(func(topic string, data []byte) {
		n.mu.Lock()
		defer n.mu.Unlock()
		topic = strings.Clone(topic)
		n.received[topic] = append(n.received[topic], string(data))
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bus.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// got returns what has come to topic so far, probes left out.
func (n *node) got(topic string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var got []string
	for _, s := range n.received[topic] {
		if !strings.HasPrefix(s, "probe ") {
			got = append(got, s)
		}
	}
	return got
}

func (n *node) has(topic, data string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.received[topic] {
		if s == data {
			return true
		}
	}
	return false
}

func (n *node) publish(t *testing.T, topic, data string) {
	t.Helper()
	if err := n.Publish(topic, []byte(data)); err != nil {
		t.Fatalf("publish to %q: %v", topic, err)
	}
}

var eventually = waittest.For

// join makes to interested in topic and waits until from's messages reach it: interest may take time to travel.
func join(t *testing.T, from, to *node, topic string) {
	t.Helper()
	to.Interest(topic, true)
	reaches(t, from, to, topic)
}

func reaches(t *testing.T, from, to *node, topic string) {
	t.Helper()
	eventually(t, fmt.Sprintf("messages to %q", topic), func() bool { return from.probe(t, to, topic) })
}

// probe publishes a message of its own and reports whether it comes soon.
func (n *node) probe(t *testing.T, to *node, topic string) bool {
	t.Helper()
	n.probes++
	data := fmt.Sprintf("probe %p %d", n, n.probes)
	n.publish(t, topic, data)
	for range 20 {
		if to.has(topic, data) {
			return true
		}
		time.Sleep(time.Millisecond)
	}
	return false
}

func wantInOrder(t *testing.T, to *node, topic string, want []string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d messages to %q", len(want), topic), func() bool { return len(to.got(topic)) >= len(want) })
	for i, got := range to.got(topic) {
		if i >= len(want) || got != want[i] {
			t.Fatalf("message %d to %q is %q", i, topic, got)
		}
	}
}

func numbered(prefix string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("%s%d", prefix, i)
	}
	return all
}

func testOrder(t *testing.T, a, b *node) {
	join(t, a, b, "room:1")
	want := numbered("m", 1000)
	for _, m := range want {
		a.publish(t, "room:1", m)
	}
	wantInOrder(t, b, "room:1", want)
}

func testOrderPerPublisher(t *testing.T, a, b *node) {
	const publishers, each = 4, 250
	join(t, a, b, "room:1")
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for _, m := range numbered(fmt.Sprintf("%d:", p), each) {
				if err := a.Publish("room:1", []byte(m)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	eventually(t, "all messages", func() bool { return len(b.got("room:1")) >= publishers*each })
	next := make([]int, publishers)
	for _, m := range b.got("room:1") {
		var p, i int
		if _, err := fmt.Sscanf(m, "%d:%d", &p, &i); err != nil || next[p] != i {
			t.Fatalf("got %q, want number %d of its publisher", m, next[p])
		}
		next[p]++
	}
}

func testBothWays(t *testing.T, a, b *node) {
	join(t, a, b, "x")
	join(t, b, a, "x")
	a.publish(t, "x", "from a")
	b.publish(t, "x", "from b")
	wantInOrder(t, b, "x", []string{"from a"})
	wantInOrder(t, a, "x", []string{"from b"})
}

func testNoEcho(t *testing.T, a, b *node) {
	join(t, b, a, "x")
	join(t, a, b, "x")
	want := numbered("m", 50)
	for _, m := range want {
		a.publish(t, "x", m)
	}
	wantInOrder(t, b, "x", want)
	reaches(t, b, a, "x") // an echo would have had its time
	if got := a.got("x"); len(got) != 0 {
		t.Fatalf("the publishing node got %q", got)
	}
}

func testOnlyInterested(t *testing.T, a, b *node) {
	join(t, a, b, "x")
	a.publish(t, "y", "to nobody")
	a.publish(t, "x:", "to nobody")
	a.publish(t, "X", "to nobody")
	a.publish(t, "x", "to b")
	wantInOrder(t, b, "x", []string{"to b"})
	reaches(t, a, b, "x")
	for _, topic := range []string{"y", "x:", "X"} {
		if got := b.got(topic); len(got) != 0 {
			t.Errorf("not interested in %q, got %q", topic, got)
		}
	}
}

func testInterestOffAndOn(t *testing.T, a, b *node) {
	join(t, a, b, "x")
	join(t, a, b, "y")
	b.Interest("x", false)
	// What is under way may still come; at some point nothing does.
	eventually(t, "interest to end", func() bool { return !a.probe(t, b, "x") })
	for _, m := range numbered("late", 20) {
		a.publish(t, "x", m)
	}
	reaches(t, a, b, "y") // other topics are not affected, and late ones have had their time
	if got := b.got("x"); len(got) != 0 {
		t.Fatalf("got %q without interest", got)
	}
	join(t, a, b, "x")
	a.publish(t, "x", "again")
	wantInOrder(t, b, "x", []string{"again"})
}

// testAnyTopic: topics are chosen by clients, and must not mean anything to what is below.
func testAnyTopic(t *testing.T, a, b *node) {
	topics := []string{
		"", "room:lobby", "a.b.c", "a.*", "a.>", ">", "*", "room:*", "$SYS", "with space", "tab\t", "line\n", "zero\x00",
		"тема", "💬", "a/b", "%2e", strings.Repeat("long", 200), "\xff not utf-8",
	}
	for _, topic := range topics {
		join(t, a, b, topic)
	}
	for i, topic := range topics {
		a.publish(t, topic, fmt.Sprint(i))
	}
	for i, topic := range topics {
		wantInOrder(t, b, topic, []string{fmt.Sprint(i)})
	}
}

func testAnyData(t *testing.T, a, b *node) {
	join(t, a, b, "x")
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	want := []string{"", string(all), strings.Repeat(string(all), 256)}
	for _, m := range want {
		a.publish(t, "x", m)
	}
	wantInOrder(t, b, "x", want)
}

func testDataNotKept(t *testing.T, a, b *node) {
	join(t, a, b, "x")
	want := numbered("message ", 100)
	buf := make([]byte, 0, 64)
	for _, m := range want {
		buf = append(buf[:0], m...)
		if err := a.Publish("x", buf); err != nil {
			t.Fatal(err)
		}
		for i := range buf {
			buf[i] = '!'
		}
	}
	wantInOrder(t, b, "x", want)
}

func testConcurrent(t *testing.T, a, b *node) {
	join(t, a, b, "steady")
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			own := fmt.Sprintf("own:%d", w)
			for i := range 100 {
				b.Interest(own, i%2 == 0)
				for _, err := range []error{
					a.Publish(own, []byte("x")),
					b.Publish("steady", []byte("to nobody")),
					a.Publish("steady", []byte(own)),
				} {
					if err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	eventually(t, "all messages", func() bool { return len(b.got("steady")) == 400 })
}

func testClose(t *testing.T, a, b *node) {
	join(t, a, b, "x")
	join(t, b, a, "x")
	for range 2 {
		if err := a.Close(); err != nil {
			t.Fatalf("close: %v", err)
		}
	}
	if err := a.Publish("x", []byte("late")); !errors.Is(err, pubsub.ErrClosed) {
		t.Fatalf("publish after close: %v", err)
	}
	a.Interest("x", false) // channels end after their endpoint: it must not fail
	a.Interest("y", true)
	b.publish(t, "x", "the other goes on")
	b.publish(t, "y", "the other goes on")
	time.Sleep(20 * time.Millisecond)
	if got := append(a.got("x"), a.got("y")...); len(got) != 0 {
		t.Fatalf("received %q after close", got)
	}
}

func testCloseWhileReceiving(t *testing.T, a, b *node) {
	join(t, a, b, "x")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if err := a.Publish("x", []byte("m")); err != nil {
					t.Error(err)
				}
			}
		}
	})
	eventually(t, "the first messages", func() bool { return len(b.got("x")) > 10 })
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	n := len(b.got("x"))
	time.Sleep(20 * time.Millisecond)
	close(stop)
	wg.Wait()
	if more := len(b.got("x")) - n; more != 0 {
		t.Fatalf("%d messages after close", more)
	}
}
