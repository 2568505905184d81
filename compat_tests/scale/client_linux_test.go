package scale

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// client is a connection of a fleet.
type client struct {
	fleet *fleet
	index int // in fleet.clients, and in the join_ref
	fd    int // -1 if not connected
	state clientState
	join  string // the phx_join frame's text, until it is sent
	in    []byte // an incomplete frame of the server
	small bool   // has the smallest receive buffer
	path  string // of the WebSocket; "" is that of the default socket

	closeCode int      // of the server's Close frame
	seen      []int    // TestScaleBroadcast: the last number of each publisher
	acked     int      // TestScaleBroadcast: replies to its own
	present   []uint32 // TestScalePresence: the phx_ref of each user, 0: not there; nil before the presence_state
	early     []delta  // TestScalePresence: diffs that came before the presence_state
}

type clientState uint8

const (
	connecting clientState = iota
	upgrading
	joining
	joined
)

// connect starts connecting and joining.
func (c *client) connect(payload string) {
	f := c.fleet
	c.join = `["j` + strconv.Itoa(c.index) + `","r` + strconv.Itoa(c.index) + `","` + f.topic + `","phx_join",` + payload + `]`
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		f.t.Fatal("socket:", err)
	}
	c.fd = fd
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	if c.small {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, smallBuffer)
	}
	source := unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, byte(2 + c.index%sources)}}
	if err := unix.Bind(fd, &source); err != nil {
		f.t.Fatal("bind:", err)
	}
	if err := unix.Connect(fd, &f.server); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		f.t.Fatal("connect:", err)
	}
	ev := unix.EpollEvent{Events: unix.EPOLLOUT, Fd: int32(c.index)}
	if err := unix.EpollCtl(f.ep, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		f.t.Fatal("epoll_ctl:", err)
	}
	f.connecting++
}

// stop stops handling events of the connection until resume.
func (c *client) stop() {
	if err := unix.EpollCtl(c.fleet.ep, unix.EPOLL_CTL_DEL, c.fd, nil); err != nil {
		c.fleet.t.Fatal("epoll_ctl:", err)
	}
}

func (c *client) resume() {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(c.index)}
	if err := unix.EpollCtl(c.fleet.ep, unix.EPOLL_CTL_ADD, c.fd, &ev); err != nil {
		c.fleet.t.Fatal("epoll_ctl:", err)
	}
}

// close closes the connection, which also removes it from the epoll.
func (c *client) close() {
	unix.Close(c.fd)
	c.fd, c.in = -1, nil
	c.fleet.closed++
}

// handle handles an event of the connection.
func (c *client) handle(events uint32) {
	f := c.fleet
	if c.fd < 0 {
		return
	}
	if c.state == connecting {
		c.state = upgrading
		ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(c.index)}
		if err := unix.EpollCtl(f.ep, unix.EPOLL_CTL_MOD, c.fd, &ev); err != nil {
			f.t.Fatal("epoll_ctl:", err)
		}
		c.write([]byte("GET " + cmp.Or(c.path, "/socket/websocket") + "?vsn=2.0.0 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n" +
			"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"))
		return
	}
	n, err := unix.Read(c.fd, f.scratch)
	switch {
	case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
	case err != nil:
		f.fail(c, "read: %v", err)
		c.close()
	case n == 0:
		if c.closeCode == 0 {
			f.fail(c, "the server closed the connection without a Close frame")
		}
		c.close()
	default:
		c.receive(f.scratch[:n])
	}
}

// receive handles the complete frames of received data.
func (c *client) receive(data []byte) {
	if len(c.in) > 0 {
		c.in = append(c.in, data...)
		data = c.in
	}
	if c.state == upgrading {
		end := bytes.Index(data, []byte("\r\n\r\n"))
		if end >= 0 {
			c.upgraded(data[:end])
			data = data[end+4:]
		}
	}
	for c.state > upgrading && c.fd >= 0 {
		op, payload, size := parseFrame(data)
		if size == 0 {
			break
		}
		c.handleFrame(op, payload)
		data = data[size:]
	}
	switch {
	case len(data) == 0 || c.fd < 0:
		c.in = nil // an idle client holds no buffer
	case len(data) < len(c.in) || len(c.in) == 0:
		c.in = append([]byte(nil), data...)
	default: // nothing was taken: a large frame grows in place
	}
}

// upgraded joins.
func (c *client) upgraded(head []byte) {
	// This is the accept key for the constant key of the request (RFC 6455, section 1.3).
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) || !bytes.Contains(head, []byte("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")) {
		c.fleet.fail(c, "the handshake was answered with %q", head)
	}
	c.state = joining
	c.send(c.join)
	c.join = ""
}

func (c *client) handleFrame(op byte, payload []byte) {
	f := c.fleet
	switch op {
	case opText:
		m, ok := parseMessage(payload)
		if !ok {
			f.fail(c, "not a message: %.200q", payload)
			return
		}
		c.handleMessage(m)
	case opClose:
		if len(payload) < 2 {
			f.fail(c, "Close frame without a code: %q", payload)
			return
		}
		c.closeCode = int(binary.BigEndian.Uint16(payload))
		c.write(frame(opClose, payload)) // the server ends the connection
	default:
		f.fail(c, "frame with opcode %d: %.200q", op, payload)
	}
}

func (c *client) handleMessage(m message) {
	f := c.fleet
	number := strconv.Itoa(c.index)
	switch {
	case c.state == joining:
		if m.joinRef != "j"+number || m.ref != "r"+number || m.topic != f.topic || m.event != "phx_reply" ||
			string(m.payload) != okReply {
			f.fail(c, "the join was answered with %v", m)
		}
		c.state = joined
		f.connecting--
		f.joined++
	case m.ref == "beat":
		if m.joinRef != "" || m.topic != "phoenix" || m.event != "phx_reply" {
			f.fail(c, "the heartbeat was answered with %v", m)
		}
		f.beats++
	case m.topic != f.topic || m.joinRef != "" && m.joinRef != "j"+number:
		f.fail(c, "got a message for another client: %v", m)
	default:
		f.onMessage(c, m)
	}
}

// send sends a text message.
func (c *client) send(text string) { c.write(frame(opText, []byte(text))) }

// write writes immediately, since clients send little and the server reads.
func (c *client) write(b []byte) {
	if n, err := unix.Write(c.fd, b); err != nil || n < len(b) {
		c.fleet.fail(c, "write: %d of %d bytes, %v", n, len(b), err)
	}
}

// RFC 6455 section 5.2.
const (
	opText  = 1
	opClose = 8
)

// frame returns a client's frame, which is masked (RFC 6455, section 5.3).
func frame(op byte, payload []byte) []byte {
	b := []byte{0x80 | op}
	if len(payload) < 126 {
		b = append(b, 0x80|byte(len(payload)))
	} else {
		b = append(b, 0x80|126)
		b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
	}
	mask := [4]byte{0x5a, 0x17, 0xc3, 0x9e}
	b = append(b, mask[:]...)
	for i, x := range payload {
		b = append(b, x^mask[i%4])
	}
	return b
}

// parseFrame returns the first frame of b and its size, or 0 if it is not complete. The
// server must not mask or fragment frames.
func parseFrame(b []byte) (op byte, payload []byte, size int) {
	if len(b) < 2 {
		return 0, nil, 0
	}
	n, header := int(b[1]), 2
	switch {
	case n == 126 && len(b) >= 4:
		n, header = int(binary.BigEndian.Uint16(b[2:])), 4
	case n == 127 && len(b) >= 10:
		n, header = int(binary.BigEndian.Uint64(b[2:])), 10
	case n >= 126:
		return 0, nil, 0
	}
	if len(b) < header+n {
		return 0, nil, 0
	}
	return b[0] ^ 0x80, b[header : header+n], header + n // a frame that is not final gets an odd opcode
}

// okReply is the payload of a reply, with its keys in Phoenix's order.
const okReply = `{"response":{},"status":"ok"}`

// message is a server's V2 message. null is "".
type message struct {
	joinRef, ref, topic, event string
	payload                    []byte // valid during the call
}

func (m message) String() string {
	return fmt.Sprintf("[%s,%s,%s,%s,%.200s]", m.joinRef, m.ref, m.topic, m.event, m.payload)
}

// parseMessage parses [join_ref, ref, topic, event, payload]. No string in these tests
// needs an escape.
func parseMessage(b []byte) (m message, ok bool) {
	rest, ok := bytes.CutPrefix(b, []byte("["))
	for _, s := range []*string{&m.joinRef, &m.ref, &m.topic, &m.event} {
		var element []byte
		element, rest, _ = bytes.Cut(rest, []byte(","))
		if string(element) == "null" {
			continue
		}
		unquoted, err := strconv.Unquote(string(element))
		if err != nil {
			return m, false
		}
		*s = unquoted
	}
	payload, whole := bytes.CutSuffix(rest, []byte("]"))
	m.payload = payload
	return m, ok && whole
}
