package channels_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/websocket"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// The tests over TCP: each runs on epoll and on the portable implementation.

// both runs a test on both implementations.
func both(t *testing.T, test func(t *testing.T, o channels.Options)) {
	t.Helper()
	t.Run("epoll", func(t *testing.T) {
		if runtime.GOOS != "linux" {
			t.Skip("no epoll on this system")
		}
		test(t, channels.Options{Loops: 2})
	})
	t.Run("portable", func(t *testing.T) { test(t, channels.Options{Loops: 2, Portable: true}) })
}

// bothSlow is both for a test that mostly waits: all of them run at the same time.
func bothSlow(t *testing.T, test func(t *testing.T, o channels.Options)) {
	t.Helper()
	t.Parallel()
	both(t, func(t *testing.T, o channels.Options) {
		t.Parallel()
		test(t, o)
	})
}

// patience is how long a test waits for what must happen on a loaded machine;
// only failing tests wait that long. It is shorter than the default of IdleTimeout, so that a
// connection that the server does not end is noticed.
const patience = 50 * time.Second

// shortLimit is the time limit of a server whose clients are to run into it. A loaded machine
// may hold up clients that keep it, but not for so long.
const shortLimit = 3 * time.Second

// quickDrain lets a test end at once.
var quickDrain = channels.Drain{Batch: 1 << 20, Interval: time.Millisecond, Timeout: patience}

// server is an endpoint on a free port of the loopback.
type server struct {
	*channels.Endpoint
	addr string
}

// serve starts an endpoint and sees to it that nothing of it is left when the
// test has ended.
func serve(t testing.TB, o channels.Options, so channels.SocketOptions, chs ...*channels.Channel) *server {
	t.Helper()
	s := newServer(t, o)
	s.Socket("/socket", so, chs...)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	return s
}

// newServer is serve for tests that shut down themselves.
func newServer(t testing.TB, o channels.Options) *server {
	t.Helper()
	leaks.Watch(t)
	if o.Drain == (channels.Drain{}) {
		o.Drain = quickDrain
	}
	e, err := channels.NewEndpoint(o)
	if err != nil {
		t.Fatal(err)
	}
	addr, err := e.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return &server{e, addr.String()}
}

// assertNothingLeft is for after a shutdown: everything is given back then.
func assertNothingLeft(t testing.TB) {
	t.Helper()
	if n := netloop.LiveFrames(); n != 0 {
		t.Errorf("%d frames left after the shutdown", n)
	}
	if n := websocket.LiveBuffers(); n != 0 {
		t.Errorf("%d buffers left after the shutdown", n)
	}
}

// envelope is one message from the server, of either version.
type envelope struct {
	joinRef, ref, topic, event string
	payload                    json.RawMessage
	binary                     []byte // in place of payload
	status                     string // of a phx_reply
	response                   json.RawMessage
}

func (m envelope) String() string {
	return fmt.Sprintf("[%q %q %q %q %s %x]", m.joinRef, m.ref, m.topic, m.event, m.payload, m.binary[:min(len(m.binary), 100)])
}

// equal compares all fields except the response, which is part of the payload.
func (m envelope) equal(other envelope) bool {
	return m.joinRef == other.joinRef && m.ref == other.ref && m.topic == other.topic && m.event == other.event &&
		m.status == other.status && bytes.Equal(m.payload, other.payload) && bytes.Equal(m.binary, other.binary)
}

// peer is a client. Its errors are returned, so that it can be used by
// goroutines; the methods in the second half fail the test instead.
type peer struct {
	*wstest.Client
	t    testing.TB
	v1   bool
	refs int
}

// dial connects a client of version 2.
func (s *server) dial(t testing.TB) *peer {
	t.Helper()
	return s.dialTarget(t, "/socket/websocket?vsn=2.0.0", nil)
}

// dialV1 connects a client of version 1.
func (s *server) dialV1(t testing.TB) *peer {
	t.Helper()
	return s.dialTarget(t, "/socket/websocket", nil)
}

// dialTarget connects, and tries again for a while if it is refused with 503, as clients do:
// a node that stalls refuses what it should forward.
func (s *server) dialTarget(t testing.TB, target string, header http.Header) *peer {
	t.Helper()
	var refused *wstest.StatusError
	c, err := wstest.Dial(s.addr, target, header)
	for began := time.Now(); errors.As(err, &refused) && refused.Status == http.StatusServiceUnavailable && time.Since(began) < patience; {
		time.Sleep(100 * time.Millisecond)
		c, err = wstest.Dial(s.addr, target, header)
	}
	if err != nil {
		t.Fatalf("connecting to %s: %v", target, err)
	}
	return newPeer(t, c, target)
}

func newPeer(t testing.TB, c *wstest.Client, target string) *peer {
	t.Cleanup(func() { c.Drop() })
	c.Timeout = patience
	return &peer{Client: c, t: t, v1: !strings.Contains(target, "vsn=2")}
}

// raw opens a TCP connection on which the test writes what it likes.
func (s *server) raw(t testing.TB) *peer {
	t.Helper()
	c, err := wstest.Connect(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	return newPeer(t, c, "vsn=2")
}

// text is an envelope of the client's version; the payload is JSON.
func (p *peer) text(joinRef, ref, topic, event, payload string) string {
	if p.v1 {
		return fmt.Sprintf(`{"join_ref":%s,"ref":%s,"topic":%q,"event":%q,"payload":%s}`,
			quoted(joinRef), quoted(ref), topic, event, payload)
	}
	return fmt.Sprintf(`[%s,%s,%q,%q,%s]`, quoted(joinRef), quoted(ref), topic, event, payload)
}

func quoted(ref string) string {
	if ref == "" {
		return "null"
	}
	return strconv.Quote(ref)
}

// bytesPush is a binary envelope of version 2.
func bytesPush(joinRef, ref, topic, event string, data []byte) []byte {
	b := []byte{0, byte(len(joinRef)), byte(len(ref)), byte(len(topic)), byte(len(event))}
	b = append(b, joinRef+ref+topic+event...)
	return append(b, data...)
}

// send pushes without waiting and returns the ref.
func (p *peer) send(joinRef, topic, event, payload string) (ref string, err error) {
	p.refs++
	ref = strconv.Itoa(p.refs)
	return ref, p.WriteText(p.text(joinRef, ref, topic, event, payload))
}

// read returns the next message.
func (p *peer) read() (envelope, error) {
	binary, data, err := p.ReadMessage()
	if err != nil {
		return envelope{}, err
	}
	if binary {
		return decodeBytes(data)
	}
	return decodeText(data)
}

// textRef is a reference as it is compared: a string's text; null is "". A client may send
// any JSON as one (a fuzzer does) and gets it back.
type textRef string

func (r *textRef) UnmarshalJSON(data []byte) error {
	var text *string
	switch err := json.Unmarshal(data, &text); {
	case err != nil:
		*r = textRef(data)
	case text != nil:
		*r = textRef(*text)
	}
	return nil
}

func decodeText(data []byte) (m envelope, err error) {
	var joinRef, ref textRef
	if data[0] == '{' {
		var v struct {
			JoinRef textRef         `json:"join_ref"`
			Ref     textRef         `json:"ref"`
			Topic   string          `json:"topic"`
			Event   string          `json:"event"`
			Payload json.RawMessage `json:"payload"`
		}
		err = json.Unmarshal(data, &v)
		joinRef, ref, m.topic, m.event, m.payload = v.JoinRef, v.Ref, v.Topic, v.Event, v.Payload
	} else {
		err = json.Unmarshal(data, &[]any{&joinRef, &ref, &m.topic, &m.event, &m.payload})
	}
	if err != nil {
		return m, fmt.Errorf("the server sent %q: %w", data, err)
	}
	m.joinRef, m.ref = string(joinRef), string(ref)
	if m.event != "phx_reply" {
		return m, nil
	}
	var reply struct {
		Status   string          `json:"status"`
		Response json.RawMessage `json:"response"`
	}
	err = json.Unmarshal(m.payload, &reply)
	m.status, m.response = reply.Status, reply.Response
	return m, err
}

// decodeBytes takes a binary envelope apart: push, reply, broadcast
// (assets/js/phoenix/serializer.js).
func decodeBytes(data []byte) (m envelope, err error) {
	sizes := map[byte]int{0: 3, 1: 4, 2: 2}
	n := sizes[data[0]]
	if n == 0 || len(data) < 1+n {
		return m, fmt.Errorf("the server sent the bytes %x", data)
	}
	fields, rest := make([]string, n), data[1+n:]
	for i, size := range data[1 : 1+n] {
		fields[i], rest = string(rest[:size]), rest[size:]
	}
	m.binary = rest
	switch data[0] {
	case 0:
		m.joinRef, m.topic, m.event = fields[0], fields[1], fields[2]
	case 1:
		m.joinRef, m.ref, m.topic, m.event, m.status = fields[0], fields[1], fields[2], "phx_reply", fields[3]
	case 2:
		m.topic, m.event = fields[0], fields[1]
	}
	return m, nil
}

// until reads until a message matches; the others are thrown away.
func (p *peer) until(match func(envelope) bool) (envelope, error) {
	for {
		m, err := p.read()
		if err != nil || match(m) {
			return m, err
		}
	}
}

// call pushes and waits for the reply.
func (p *peer) call(joinRef, topic, event, payload string) (envelope, error) {
	ref, err := p.send(joinRef, topic, event, payload)
	if err != nil {
		return envelope{}, err
	}
	return p.until(func(m envelope) bool { return m.event == "phx_reply" && m.ref == ref })
}

// tryJoin joins and returns the join_ref.
func (p *peer) tryJoin(topic, params string) (joinRef string, reply envelope, err error) {
	p.refs++
	ref := strconv.Itoa(p.refs)
	if err := p.WriteText(p.text(ref, ref, topic, "phx_join", params)); err != nil {
		return ref, reply, err
	}
	reply, err = p.until(func(m envelope) bool { return m.event == "phx_reply" && m.ref == ref })
	return ref, reply, err
}

// join joins and fails the test if that is refused.
func (p *peer) join(topic, params string) (joinRef string) {
	p.t.Helper()
	joinRef, reply, err := p.tryJoin(topic, params)
	if err != nil || reply.status != "ok" {
		p.t.Fatalf("joining %s: %v, %v", topic, reply, err)
	}
	return joinRef
}

// push sends and fails the test if that is not possible.
func (p *peer) push(joinRef, topic, event, payload string) (ref string) {
	p.t.Helper()
	ref, err := p.send(joinRef, topic, event, payload)
	if err != nil {
		p.t.Fatalf("pushing %s to %s: %v", event, topic, err)
	}
	return ref
}

// assertReply pushes and waits for this answer.
func (p *peer) assertReply(joinRef, topic, event, payload, status, response string) {
	p.t.Helper()
	m, err := p.call(joinRef, topic, event, payload)
	if err != nil || m.status != status || string(m.response) != response {
		p.t.Fatalf("%s to %s: %v, %v; want %s %s", event, topic, m, err, status, response)
	}
}

// assertNext fails the test if the next message is another.
func (p *peer) assertNext(joinRef, topic, event, payload string) {
	p.t.Helper()
	m, err := p.read()
	if err != nil || m.joinRef != joinRef || m.topic != topic || m.event != event || string(m.payload) != payload {
		p.t.Fatalf("received %v, %v; want [%q %q %q %s]", m, err, joinRef, topic, event, payload)
	}
}

// await throws messages away until one has this event.
func (p *peer) await(event string) envelope {
	p.t.Helper()
	m, err := p.until(func(m envelope) bool { return m.event == event })
	if err != nil {
		p.t.Fatalf("waiting for %s: %v", event, err)
	}
	return m
}

// closeCode reads until the connection ends and returns the code of the Close
// frame, 0 if there was none.
func (p *peer) closeCode() uint16 {
	p.t.Helper()
	for {
		_, _, err := p.ReadMessage()
		var closed *wstest.CloseError
		switch {
		case errors.As(err, &closed):
			p.Drop()
			return closed.Code
		case isTimeout(err):
			p.t.Fatal("the connection was not ended")
		case err != nil:
			p.Drop()
			return 0
		}
	}
}

// isTimeout tells a connection that hangs from one that ended.
func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// frames joins masked text frames, to be sent in one packet.
func frames(texts ...string) (b []byte) {
	for _, text := range texts {
		b = wstest.AppendFrame(b, true, ws.OpText, []byte(text))
	}
	return b
}

// exchange writes a request and reads the answer.
func exchange(t *testing.T, c net.Conn, request string) (status int, body string, header http.Header) {
	t.Helper()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	var r *http.Request
	if strings.HasPrefix(request, "HEAD ") {
		r = &http.Request{Method: http.MethodHead}
	}
	answer, err := http.ReadResponse(bufio.NewReader(c), r)
	if err != nil {
		t.Fatalf("%.60q is not answered: %v", request, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusSwitchingProtocols {
		return answer.StatusCode, "", answer.Header
	}
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Errorf("%.60q: the answer's body: %v", request, err)
	}
	return answer.StatusCode, string(text), answer.Header
}
