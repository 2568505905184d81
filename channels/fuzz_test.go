package channels_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/websocket"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// What the fuzzed bytes are, so that mutations reach every layer.
const (
	fuzzWhole  = iota // all that the connection sends
	fuzzFrames        // what follows a handshake
	fuzzText          // the payloads of text frames, one a line
	fuzzBinary        // the payload of a binary frame
	fuzzV1            // as fuzzText, on version 1
	fuzzJoined        // as fuzzText, behind a join of the chat's own topic
	fuzzKinds
)

// FuzzServer sends one connection's bytes to a whole server while a
// well-behaved client chats: it must not be disturbed, and when the connection
// has ended nothing of it must be left.
func FuzzServer(f *testing.F) {
	for kind := range byte(fuzzKinds) {
		f.Add(kind, []byte(`["1","1","room:1","phx_join",{}]`+"\n"+`["1","2","room:1","echo",{"a":[1,2.5e3,null,"é\n"]}]`+"\n"+`["1","3","room:1","phx_leave",{}]`))
		f.Add(kind, []byte(`{"topic":"room:1","event":"phx_join","payload":{},"ref":"1"}`+"\n"+`{"topic":"room:1","event":"crash","payload":{},"ref":"2"}`))
	}
	f.Add(byte(fuzzWhole), []byte(socketHandshake()+string(frames(`["1","1","room:1","phx_join",{}]`, `["1","2","room:1","later",{}]`))))
	f.Add(byte(fuzzWhole), []byte("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	f.Add(byte(fuzzWhole), []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"+socketHandshake()))
	for _, request := range []string{
		"GET /socket/longpoll?vsn=2.0.0 HTTP/1.1\r\nHost: x\r\n\r\n",
		"OPTIONS /socket/longpoll HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\nAccess-Control-Request-Headers: a, b\r\n\r\n",
		"POST /socket/longpoll?vsn=2.0.0&token=forged HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n[]",
		"GET /socket/longpoll?vsn=2.0.0&token=forged HTTP/1.1\r\nHost: x\r\nX-Phoenix-Longpoll-Token: other\r\n\r\n",
	} {
		f.Add(byte(fuzzWhole), []byte(request))
	}
	f.Add(byte(fuzzFrames), append(masked(false, ws.OpText, `["1","1","ro`), masked(true, ws.OpContinuation, `om:1","phx_join",{}]`)...))
	f.Add(byte(fuzzFrames), append(masked(true, ws.OpPing, "ping"), masked(true, ws.OpClose, "\x03\xe8bye")...))
	f.Add(byte(fuzzFrames), bytesPush("1", "1", "room:1", "bytes", []byte{1, 2, 3}))
	f.Add(byte(fuzzBinary), bytesPush("1", "1", "room:1", "bytes", []byte{1, 2, 3}))
	f.Add(byte(fuzzJoined), []byte(`["1","2","`+chatTopic+`","shout",{"body":"me too"}]`+"\n"+`["1","3","`+chatTopic+`","stop",{"body":"x"}]`+"\n["))
	f.Add(byte(fuzzText), []byte(`["1","1","room:1","phx_join",{"deny":"crash"}]`+"\n"+`[null,"1","phoenix","heartbeat",{}]`+"\n"+`["1","1","room:1","phx_join",{}]`+"\n"+`["2","2","room:1","phx_join",{}]`))

	for _, portable := range []bool{false, true} {
		targets = append(targets, newFuzzTarget(f, channels.Options{Loops: 2, Portable: portable}))
	}
	f.Cleanup(func() {
		for _, target := range targets {
			target.close(f)
		}
		targets = nil
	})
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		for _, target := range targets {
			target.run(t, fuzzBytes(kind%fuzzKinds, data))
		}
	})
}

var targets []*fuzzTarget

// fuzzBytes is what the connection sends.
func fuzzBytes(kind byte, data []byte) []byte {
	head := socketHandshake()
	switch kind {
	case fuzzWhole:
		return data
	case fuzzFrames:
		return append([]byte(head), data...)
	case fuzzBinary:
		return append([]byte(head), masked(true, ws.OpBinary, string(data))...)
	case fuzzV1:
		head = strings.Replace(head, "vsn=2.0.0", "vsn=1.0.0", 1)
	case fuzzJoined:
		head += string(frames(`["1","1","` + chatTopic + `","phx_join",{}]`))
	}
	return append([]byte(head), frames(strings.Split(string(data), "\n")...)...)
}

// fuzzTarget is a server with a well-behaved client. It listens on a Unix
// socket, because a million connections a minute use up the ports of TCP.
type fuzzTarget struct {
	endpoint *channels.Endpoint
	addr     string
	dir      string
	chat     *chatter
}

func newFuzzTarget(f *testing.F, o channels.Options) *fuzzTarget {
	f.Helper()
	dir, err := os.MkdirTemp("", "mycelium") // short: a socket's path has 108 bytes
	if err != nil {
		f.Fatal(err)
	}
	o.Drain, o.Handler = quickDrain, mirror
	o.Limits.HandshakeTimeout = patience
	e, err := channels.NewEndpoint(o)
	if err != nil {
		f.Fatal(err)
	}
	// Sessions of long polling live so shortly that each run can wait for their end.
	poll := channels.LongPollOptions{Enabled: true, Window: 20 * time.Millisecond}
	e.Socket("/socket", channels.SocketOptions{Compress: true, LongPoll: poll}, room())
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		f.Fatal(err)
	}
	target := &fuzzTarget{endpoint: e, addr: l.Addr().String(), dir: dir}
	if _, err := e.Serve(l); err != nil {
		f.Fatal(err)
	}
	c, err := target.dial()
	if err != nil {
		f.Fatal(err)
	}
	ws, err := wstest.NewClient(c, "/socket/websocket?vsn=2.0.0", nil)
	if err != nil {
		f.Fatal(err)
	}
	target.chat = &chatter{peer: &peer{Client: ws, t: f}, topic: chatTopic}
	target.chat.joinRef = target.chat.join(chatTopic, "{}")
	return target
}

func (target *fuzzTarget) dial() (*net.UnixConn, error) {
	return net.DialUnix("unix", nil, &net.UnixAddr{Name: target.addr, Net: "unix"})
}

func (target *fuzzTarget) close(f *testing.F) {
	target.chat.Drop()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := target.endpoint.Shutdown(ctx); err != nil {
		f.Errorf("shutdown: %v", err)
	}
	os.RemoveAll(target.dir)
}

func (target *fuzzTarget) run(t *testing.T, data []byte) {
	c, err := target.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.Write(data) // the server may have had enough of it
		c.CloseWrite()
	}()
	c.SetReadDeadline(time.Now().Add(patience))
	_, err = io.Copy(io.Discard, c)
	if isTimeout(err) {
		t.Errorf("the connection does not end")
	}
	c.Close()
	<-written
	if err := target.chatOn(); err != nil {
		t.Errorf("the well-behaved client: %v", err)
	}
	waitFor(t, "the connection to leave nothing", func() bool {
		n := target.endpoint.Stats()
		return n.Sockets == 1 && n.Channels == 1 && n.Network.Connections == 1 && websocket.LiveBuffers() == 0 && netloop.LiveFrames() == 0
	})
}

// chatOn is chatter.round for a topic to which others may say something too.
func (target *fuzzTarget) chatOn() error {
	c := target.chat
	c.rounds++
	body := fmt.Sprintf(`{"body":"of the chat, %d"}`, c.rounds)
	for _, event := range []string{"shout", "echo"} {
		ref, err := c.send(c.joinRef, c.topic, event, body)
		if err != nil {
			return err
		}
		_, err = c.until(func(m envelope) bool {
			return m.event == event && string(m.payload) == body ||
				m.event == "phx_reply" && m.ref == ref && string(m.response) == body
		})
		if err != nil {
			return err
		}
	}
	return nil
}
