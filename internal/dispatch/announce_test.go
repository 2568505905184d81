package dispatch_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/mycelium-rt/mycelium/internal/dispatch"
)

// interests is a bus that notes what this node is interested in.
type interests struct{ log []string }

func (*interests) Open(func(string, []byte)) error { return nil }
func (*interests) Publish(string, []byte) error    { return nil }
func (*interests) Close() error                    { return nil }

func (b *interests) Interest(topic string, on bool) {
	b.log = append(b.log, fmt.Sprintf("%s %t", topic, on))
}

// What is broadcast behind an announcement waits for the subscriber that was
// announced, whatever other subscribers of the shard do, and comes once.
func TestAnnounce(t *testing.T) {
	bus, q := new(interests), new(queue)
	p := newPubSub(t, dispatch.Options{Bus: bus, Codec: textCodec{}}, q)
	say := func(text string) {
		t.Helper()
		if err := p.Broadcast("a", newMessage(text), nil); err != nil {
			t.Fatal(err)
		}
	}
	var first, second client
	p.Announce(0, "a")
	say("1")
	p.Subscribe(0, "a", &first)
	p.Withdraw(0, "a")
	p.Announce(0, "a")
	p.Unsubscribe(0, &first) // the announcement holds the place
	say("2")
	p.Subscribe(0, "a", &second)
	p.Withdraw(0, "a")
	say("3")
	if n := q.run(10); n != 3 {
		t.Errorf("%d tasks for 3 broadcasts", n)
	}
	if want := []string{"1", "2", "3"}; !slices.Equal(second.got, want) || len(first.got) != 0 {
		t.Errorf("got %q and %q, want %q", first.got, second.got, want)
	}
	p.Unsubscribe(0, &second)
	say("4")
	p.Announce(0, "a")
	p.Announce(0, "a")
	p.Withdraw(0, "a")
	say("5")
	p.Withdraw(0, "a")
	say("6")
	if n := q.run(10); n != 1 {
		t.Errorf("%d tasks, want that of the announced one", n)
	}
	if n := p.Subscribers("a"); n != 0 {
		t.Errorf("%d subscribers", n)
	}
	for topic := range p.Topics() {
		t.Errorf("topic %s is left", topic)
	}
	if want := []string{"a true", "a false", "a true", "a false"}; !slices.Equal(bus.log, want) {
		t.Errorf("interest: %q, want %q", bus.log, want)
	}
}
