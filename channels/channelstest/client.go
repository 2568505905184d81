package channelstest

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// Client is a connected socket. It speaks version 2 of the protocol.
type Client struct {
	t    testing.TB
	conn *wstest.Client

	writing sync.Mutex // held during a write

	mu      sync.Mutex
	refs    int
	inbox   []message     // received, not asserted yet
	arrived chan struct{} // closed and replaced when something is received
	closed  error         // why nothing more will come
}

// Connect opens a socket at a target such as "/socket?user=ada". It fails the
// test if the server refuses. The socket is closed when the test ends.
func Connect(t testing.TB, e *Endpoint, target string) *Client {
	t.Helper()
	c, err := TryConnect(t, e, target, nil)
	if err != nil {
		t.Fatalf("channelstest: connecting to %s: %v", target, err)
	}
	return c
}

// RefusedError is the answer of a server that refused a socket.
type RefusedError struct {
	Status int
	Body   string
}

func (e *RefusedError) Error() string { return fmt.Sprintf("refused: %d %s", e.Status, e.Body) }

// TryConnect is like Connect, but sends additional header fields, and returns a
// *RefusedError if the server refuses.
func TryConnect(t testing.TB, e *Endpoint, target string, header http.Header) (*Client, error) {
	t.Helper()
	path, query, _ := strings.Cut(target, "?")
	if query != "" {
		query = "&" + query
	}
	nc, err := e.listener.dial()
	if err != nil {
		return nil, err
	}
	conn, err := wstest.NewClient(nc, path+"/websocket?vsn=2.0.0"+query, header)
	if err != nil {
		nc.Close() // the first error counts
		var status *wstest.StatusError
		if errors.As(err, &status) {
			return nil, &RefusedError{Status: status.Status, Body: status.Body}
		}
		return nil, err
	}
	conn.Timeout = time.Hour // assertions have their own
	c := &Client{t: t, conn: conn, arrived: make(chan struct{})}
	var running sync.WaitGroup
	ended := make(chan struct{})
	running.Go(func() {
		defer close(ended)
		c.receive()
	})
	running.Go(func() { c.heartbeat(ended) })
	t.Cleanup(func() { c.Close(); running.Wait() })
	return c, nil
}

// heartbeatEvery is the interval of phoenix.js (assets/js/phoenix/socket.js,
// heartbeatIntervalMs).
const heartbeatEvery = 30 * time.Second

// heartbeat keeps the socket open, as every client does, until it has ended.
func (c *Client) heartbeat(ended <-chan struct{}) {
	tick := time.NewTicker(heartbeatEvery)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
		}
		if err := c.write([]byte(`[null,"`+heartbeatRef+`","phoenix","heartbeat",{}]`), false); err != nil {
			return // receive finds out why
		}
	}
}

// heartbeatRef is the ref of heartbeats, whose replies no test asks for.
const heartbeatRef = "heartbeat"

// Close drops the connection, as if the client had lost its network.
func (c *Client) Close() { c.conn.Drop() } //nolint:errcheck // it may be closed already

// Join joins a topic and fails the test if it is refused.
func (c *Client) Join(topic string, params any) *Channel {
	c.t.Helper()
	ch, reply := c.TryJoin(topic, params)
	if reply.Status != "ok" {
		c.t.Fatalf("channelstest: joining %s: %s %s", topic, reply.Status, reply.Response)
	}
	return ch
}

// TryJoin joins a topic and returns the reply of the server.
func (c *Client) TryJoin(topic string, params any) (*Channel, Reply) {
	c.t.Helper()
	join := c.StartJoin(topic, params)
	return join.channel, join.Reply()
}

// StartJoin sends a join without waiting for the reply.
func (c *Client) StartJoin(topic string, params any) *Push {
	c.t.Helper()
	ref := c.nextRef()
	c.send(ref, ref, topic, "phx_join", params)
	return &Push{channel: &Channel{client: c, topic: topic, joinRef: ref}, ref: ref}
}

// Topic returns a topic that the client has not joined, to assert what a channel
// forwards or pushes to it ([channels.Context.Forward], [channels.Context.PushTo]).
func (c *Client) Topic(topic string) *Channel { return &Channel{client: c, topic: topic} }

// Received waits for n messages that were not asserted yet, and returns the
// events of all of them in order. They can still be asserted.
func (c *Client) Received(n int) (events []string) {
	c.t.Helper()
	c.await(fmt.Sprintf("%d messages", n), func() bool { return len(c.inbox) >= n })
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.inbox {
		events = append(events, m.event)
	}
	return events
}

// AssertClosed waits for the server to close the connection with a Close frame
// of this code.
func (c *Client) AssertClosed(code uint16) {
	c.t.Helper()
	c.await("end of the connection", func() bool { return c.closed != nil })
	var closed *wstest.CloseError
	if !errors.As(c.closed, &closed) || closed.Code != code {
		c.t.Fatalf("channelstest: connection ended by %v, want close code %d", c.closed, code)
	}
}

func (c *Client) nextRef() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refs++
	return strconv.Itoa(c.refs)
}

func (c *Client) send(joinRef, ref, topic, event string, payload any) {
	c.t.Helper()
	frame, binary, err := encode(joinRef, ref, topic, event, payload)
	if err != nil {
		c.t.Fatalf("channelstest: payload of %s: %v", event, err)
	}
	if err = c.write(frame, binary); err != nil && !errors.Is(err, net.ErrClosed) {
		c.t.Fatalf("channelstest: sending %s to %s: %v", event, topic, err)
	}
}

// write sends a frame: for the test and for heartbeats, one at a time.
func (c *Client) write(frame []byte, binary bool) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if binary {
		return c.conn.WriteBinary(frame)
	}
	return c.conn.WriteText(string(frame))
}

// receive collects what comes until the connection ends.
func (c *Client) receive() {
	for {
		binary, data, err := c.conn.ReadMessage()
		var m message
		if err == nil {
			m, err = decode(data, binary)
		}
		c.mu.Lock()
		if err != nil {
			c.closed = err
		} else if m.ref != heartbeatRef {
			c.inbox = append(c.inbox, m)
		}
		close(c.arrived)
		c.arrived = make(chan struct{})
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// await waits for a condition, which is asked under mu. It fails the test
// after Timeout, telling what else was received.
func (c *Client) await(what string, condition func() bool) {
	c.t.Helper()
	timeout := time.NewTimer(Timeout)
	defer timeout.Stop()
	for {
		c.mu.Lock()
		ok, arrived, closed := condition(), c.arrived, c.closed
		inbox := describe(c.inbox)
		c.mu.Unlock()
		if ok {
			return
		}
		if closed != nil {
			c.t.Fatalf("channelstest: waiting for %s: the connection ended: %v\nreceived, not asserted:%s", what, closed, inbox)
		}
		select {
		case <-arrived:
		case <-timeout.C:
			c.t.Fatalf("channelstest: no %s within %v\nreceived, not asserted:%s", what, Timeout, inbox)
		}
	}
}

// refute listens for Quiet and fails the test if a message matches.
func (c *Client) refute(what string, match func(message) bool) {
	c.t.Helper()
	time.Sleep(Quiet)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.inbox {
		if match(m) {
			c.t.Fatalf("channelstest: unexpected %s: %s", what, m)
		}
	}
}

// takeMessage removes the first message that matches. It is called under mu.
func (c *Client) takeMessage(match func(message) bool) (message, bool) {
	for i, m := range c.inbox {
		if match(m) {
			c.inbox = append(c.inbox[:i:i], c.inbox[i+1:]...)
			return m, true
		}
	}
	return message{}, false
}
