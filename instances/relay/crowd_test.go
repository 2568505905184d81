package relay_test

import (
	"bytes"
	"encoding/json"
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
		t.Run(c.name, func(t *testing.T) { crowd(t, c.target, 150, 10, 256<<10) })
	}
}

// TestCrowdAtOnce: nobody who reads is cut off when everybody comes at once, and
// what they are told of each other alone is many times what may wait for them.
func TestCrowdAtOnce(t *testing.T) { crowd(t, "/socket/websocket?vsn=2.0.0", 200, 200, 64<<10) }

// crowd has so many clients join, some at once, on a server that lets a number of bytes
// wait for each.
func crowd(t *testing.T, target string, size, atOnce, limit int) {
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
		if i%atOnce == atOnce-1 { // what each is sent waits for it beside its own state
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

// list is a presence list as phoenix.js keeps it (assets/js/phoenix/presence.js).
type list map[string]map[string]bool // phx_refs by key

type entries map[string]struct {
	Metas []struct {
		Ref string `json:"phx_ref"`
	} `json:"metas"`
}

// apply does what a message says.
func (l list) apply(t *testing.T, text []byte) {
	t.Helper()
	var m []json.RawMessage
	if err := json.Unmarshal(text, &m); err != nil || len(m) != 5 {
		t.Fatalf("%.100s: %v", text, err)
	}
	switch string(m[3]) {
	case `"presence_state"`:
		clear(l)
		var state entries
		if err := json.Unmarshal(m[4], &state); err != nil {
			t.Fatal(err)
		}
		l.join(state)
	case `"presence_diff"`:
		var diff struct{ Joins, Leaves entries }
		if err := json.Unmarshal(m[4], &diff); err != nil {
			t.Fatal(err)
		}
		l.join(diff.Joins)
		for key, e := range diff.Leaves {
			for _, meta := range e.Metas {
				delete(l[key], meta.Ref)
			}
			if len(l[key]) == 0 {
				delete(l, key)
			}
		}
	}
}

func (l list) join(joins entries) {
	for key, e := range joins {
		if l[key] == nil {
			l[key] = make(map[string]bool)
		}
		for _, meta := range e.Metas {
			l[key][meta.Ref] = true
		}
	}
}

// TestSleeper: a member that does not read while a crowd comes and goes is neither
// cut off nor kept all that was said, and knows who is there when it has read again.
func TestSleeper(t *testing.T) {
	for _, portable := range []bool{false, true} {
		t.Run(fmt.Sprintf("portable=%v", portable), func(t *testing.T) { sleeper(t, portable) })
	}
}

func sleeper(t *testing.T, portable bool) {
	const visitors, stay, limit = 100, 8, 128 << 10
	e := channelstest.Start(t, channels.Options{Loops: 2, Portable: portable, Limits: channels.Limits{OutboundBytes: limit, SendBuffer: 16 << 10}})
	r := relay.New(e.Endpoint, relay.Options{Topics: []string{"*"}})
	t.Cleanup(r.Close)
	e.Socket("/socket", channels.SocketOptions{}, r.Channels()...)
	addr, err := e.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	join := func(user string) *wstest.Client {
		client, err := wstest.Dial(addr.String(), "/socket/websocket?vsn=2.0.0", nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Drop() })
		client.Timeout = time.Minute
		if err := client.WriteText(fmt.Sprintf(`["1","1","room:1","phx_join",{"user":%q,"meta":{"about":%q}}]`, user, strings.Repeat("x", 4000))); err != nil {
			t.Fatal(err)
		}
		return client
	}
	sleeping := join("sleeper")
	want := list{"sleeper": nil, "last": nil}
	for i := range visitors {
		user := fmt.Sprintf("visitor-%d", i)
		visitor := channelstest.Connect(t, e, "/socket").Join("room:1", map[string]any{"user": user, "meta": map[string]any{"about": strings.Repeat("x", 4000)}})
		if i < stay {
			want[user] = nil
		} else {
			visitor.Leave()
		}
	}
	if n := e.Stats().Network.ClosedSlow; n > 0 {
		t.Fatal("the sleeper was cut off")
	}
	last := join("last")
	go func() { // reads, so that it stays
		for {
			if _, _, err := last.ReadMessage(); err != nil {
				return
			}
		}
	}()
	knows := make(list)
	read := 0
	for knows["last"] == nil || len(knows) != len(want) {
		_, text, err := sleeping.ReadMessage()
		if err != nil {
			t.Fatalf("the sleeper was cut off with %d in its list: %v", len(knows), err)
		}
		read += len(text)
		knows.apply(t, text)
	}
	for user := range want {
		if len(knows[user]) != 1 {
			t.Errorf("%s is there with %d metas", user, len(knows[user]))
		}
	}
	if e.Stats().PutOff == 0 {
		t.Errorf("the sleeper was told everything, %d bytes: this shows nothing", read)
	}
}
