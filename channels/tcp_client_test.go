package channels_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
)

// Types of packets, as docs/tcp.md has them: the tests share no code with the server.
const (
	packetText, packetBinary, packetConnect, packetAccepted, packetRefused = 1, 2, 3, 4, 5
	packetClose, packetPing, packetPong                                    = 8, 9, 10
)

// listenTCP has s serve raw TCP, and returns the address.
func (s *server) listenTCP(t testing.TB) string {
	t.Helper()
	addr, err := s.ListenTCP("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return addr.String()
}

// packets is a client over raw TCP.
type packets struct {
	net.Conn
	t      testing.TB
	reader *bufio.Reader
}

func newPackets(t testing.TB, c net.Conn) *packets {
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &packets{Conn: c, t: t, reader: bufio.NewReader(c)}
}

// dialPackets opens a connection on which nothing was sent.
func dialPackets(t testing.TB, addr string) *packets {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return newPackets(t, c)
}

// connectPackets connects a client that is let in.
func connectPackets(t testing.TB, addr, request string) *packets {
	t.Helper()
	p := dialPackets(t, addr)
	p.send(packetConnect, request)
	p.want(packetAccepted)
	return p
}

func packetOf(kind byte, body string) string {
	return string(append(binary.BigEndian.AppendUint32(nil, uint32(1+len(body))), kind)) + body
}

func (p *packets) send(kind byte, body string) {
	p.t.Helper()
	p.write(packetOf(kind, body))
}

func (p *packets) write(bytes string) {
	p.t.Helper()
	if _, err := io.WriteString(p, bytes); err != nil {
		p.t.Fatal(err)
	}
}

func (p *packets) next() (kind byte, body string, err error) {
	var head [5]byte
	if _, err := io.ReadFull(p.reader, head[:]); err != nil {
		return 0, "", err
	}
	text := make([]byte, binary.BigEndian.Uint32(head[:])-1)
	_, err = io.ReadFull(p.reader, text)
	return head[4], string(text), err
}

// want returns the body of the next packet, and fails the test if it has another type.
func (p *packets) want(kind byte) string {
	p.t.Helper()
	got, body, err := p.next()
	if err != nil || got != kind {
		p.t.Fatalf("received a packet of type %d, %q, %v; want type %d", got, body, err, kind)
	}
	return body
}

// wantText fails the test unless the next packet is this message.
func (p *packets) wantText(message string) {
	p.t.Helper()
	if got := p.want(packetText); got != message {
		p.t.Fatalf("received %s; want %s", got, message)
	}
}

// wantRefused reads the answer to a client that is not let in, and the end of the
// connection.
func (p *packets) wantRefused(status, retryAfter int, reason string) {
	p.t.Helper()
	body := p.want(packetRefused)
	got, retry := int(binary.BigEndian.Uint16([]byte(body))), int(binary.BigEndian.Uint16([]byte(body[2:])))
	if got != status || retry < retryAfter || retry > 3*retryAfter || body[4:] != reason {
		p.t.Errorf("refused with %d, %d, %s; want %d, %d or up to three times as much, %s", got, retry, body[4:], status, retryAfter, reason)
	}
	p.wantEnd()
}

// wantClose reads a close, and the end of the connection.
func (p *packets) wantClose(code int, reason string) {
	p.t.Helper()
	body := p.want(packetClose)
	if got := int(binary.BigEndian.Uint16([]byte(body))); got != code || body[2:] != reason {
		p.t.Errorf("closed with %d %q; want %d %q", got, body[2:], code, reason)
	}
	p.wantEnd()
}

func (p *packets) wantEnd() {
	p.t.Helper()
	if kind, body, err := p.next(); !errors.Is(err, io.EOF) {
		p.t.Errorf("received a packet of type %d, %q, %v; want the end", kind, body, err)
	}
}

// join joins a topic whose channel answers with response.
func (p *packets) join(topic, params, response string) {
	p.t.Helper()
	p.send(packetText, fmt.Sprintf(`["1","1",%q,"phx_join",%s]`, topic, params))
	p.wantText(fmt.Sprintf(`["1","1",%q,"phx_reply",{"response":%s,"status":"ok"}]`, topic, response))
}

// bothTCP is both for a server of raw TCP at addr.
func bothTCP(t *testing.T, so channels.SocketOptions, test func(t *testing.T, s *server, addr string), chs func() []*channels.Channel) {
	t.Helper()
	both(t, func(t *testing.T, o channels.Options) {
		s := serve(t, o, so, chs()...)
		test(t, s, s.listenTCP(t))
	})
}
