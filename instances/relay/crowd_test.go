package relay_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/instances/relay"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// onlooker is a member of a crowd: a client that reads all the time and counts who
// it has been told of. It does not decode: the race detector makes that slower than
// the server.
type onlooker struct {
	*wstest.Client
	mu      sync.Mutex
	present int   // guarded by mu
	largest int   // message; guarded by mu
	err     error // guarded by mu
}

func (o *onlooker) read() {
	for {
		_, text, err := o.ReadMessage()
		o.mu.Lock()
		keys := bytes.Count(text, []byte(`:{"metas":[`))
		switch {
		case err != nil:
			o.err = err
		case bytes.Contains(text, []byte(`"presence_state"`)):
			o.present = keys
		default:
			o.present += keys
		}
		o.largest = max(o.largest, len(text))
		o.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (o *onlooker) knows(n int) (bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.present >= n, o.err
}

// TestCrowd: a state that is larger than what may wait for a connection cuts off
// nobody who reads, and comes in parts, to sockets of every kind.
func TestCrowd(t *testing.T) {
	for _, c := range []struct{ name, target string }{
		{"version 2", "/socket/websocket?vsn=2.0.0"},
		{"version 1", "/socket/websocket?vsn=1.0.0"},
	} {
		t.Run(c.name, func(t *testing.T) { crowd(t, c.target) })
	}
}

func crowd(t *testing.T, target string) {
	const size, limit = 150, 256 << 10
	e := channelstest.Start(t, channels.Options{Loops: 2, Limits: channels.Limits{OutboundBytes: limit, SendBuffer: 16 << 10}})
	r := relay.New(e.Endpoint, relay.Options{Topics: []string{"*"}})
	t.Cleanup(r.Close)
	e.Socket("/socket", channels.SocketOptions{}, r.Channels()...)
	addr, err := e.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	v1 := strings.Contains(target, "vsn=1")
	about := strings.Repeat("x", 4000)
	members := make([]*onlooker, size)
	for i := range members {
		client, err := wstest.Dial(addr.String(), target, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Drop()
		client.Timeout = time.Minute
		o := &onlooker{Client: client}
		members[i] = o
		join := fmt.Sprintf(`["1","1","room:1","phx_join",{"user":"user-%d","meta":{"about":%q}}]`, i, about)
		if v1 {
			join = fmt.Sprintf(`{"topic":"room:1","event":"phx_join","ref":"1","payload":{"user":"user-%d","meta":{"about":%q}}}`, i, about)
		}
		if err := client.WriteText(join); err != nil {
			t.Fatal(err)
		}
		go o.read()
		if i%10 == 9 { // ten at once: what each is sent waits for it beside its own state
			await(t, o, i+1)
		}
	}
	for _, o := range members {
		await(t, o, size)
		o.mu.Lock()
		if o.present > size {
			t.Errorf("a member was told of %d, there are %d", o.present, size)
		}
		if o.largest > 256<<10+200 { // the envelope
			t.Errorf("a message of %d bytes", o.largest)
		}
		o.mu.Unlock()
	}
	if n := e.Stats().Network.ClosedSlow; n > 0 {
		t.Errorf("%d members were cut off", n)
	}
}

// await waits until a member knows of n.
func await(t *testing.T, o *onlooker, n int) {
	t.Helper()
	for until := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		done, err := o.knows(n)
		switch {
		case err != nil:
			t.Fatalf("a member that reads was cut off: %v", err)
		case done:
			return
		case time.Now().After(until):
			t.Fatalf("no state of %d members", n)
		}
	}
}
