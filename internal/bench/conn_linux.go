package bench

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// state is the state of a connection.
type state uint8

const (
	unopened state = iota
	connecting
	securing // TLS
	handshaking
	joining
	joined
	gone
)

// conn is a connection. There may be a million, so it is small.
type conn struct {
	fd       int32
	topic    int32
	state    state
	blocked  bool  // out waits for room: epoll tells
	skip     int   // next bytes that can be ignored
	since    int64 // when the awaited operation began, or was due
	in, out  []byte
	received int64    // publications, each once
	tls      *secured // nil: without
}

// maxWaiting is how much may wait to be sent on one connection.
const maxWaiting = 64 << 20

// ready handles epoll's events of a connection.
func (w *worker) ready(i int, events uint32) {
	c := &w.conns[i]
	if c.state == gone {
		return // it ended earlier in this batch
	}
	if events&unix.EPOLLOUT != 0 && !w.writable(i) {
		return
	}
	if events&(unix.EPOLLIN|unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		w.read(i)
	}
}

// writable starts the handshake on a new connection, or sends what could not be
// sent before. It returns false if the connection has ended.
func (w *worker) writable(i int) bool {
	c := &w.conns[i]
	if c.state == connecting {
		if errno, err := unix.GetsockoptInt(int(c.fd), unix.SOL_SOCKET, unix.SO_ERROR); err != nil || errno != 0 {
			w.endConn(i, "connect: "+unix.Errno(errno).Error())
			return false
		}
		c.blocked = false
		w.greet(i)
	} else {
		out := c.out
		c.out, c.blocked = nil, false
		if len(out) > 0 {
			w.flush(i, out)
		}
	}
	if c.state != gone && !c.blocked {
		w.watch(i, unix.EPOLLIN)
	}
	return c.state != gone
}

func (w *worker) watch(i int, events uint32) {
	if err := w.poll.watch(unix.EPOLL_CTL_MOD, int(w.conns[i].fd), int32(i), events); err != nil {
		w.endConn(i, "epoll_ctl: "+err.Error())
	}
}

// flush sends waiting bytes.
func (w *worker) flush(i int, waiting []byte) {
	if err := w.transmit(i, waiting); err != nil {
		w.endConn(i, err.Error())
	}
}

// send sends b, through TLS if the connection has it.
func (w *worker) send(i int, b []byte) {
	c := &w.conns[i]
	var err error
	if c.tls != nil {
		_, err = c.tls.Write(b)
	} else {
		err = w.transmit(i, b)
	}
	if err != nil {
		w.endConn(i, err.Error())
	}
}

var errNotRead = errors.New("the server stopped reading: more than 64 MiB wait to be sent")

// transmit is the only function that writes to a connection. What the system
// does not take is copied, and sent when there is room. It does not end the
// connection itself, because TLS may be in the middle of an operation.
func (w *worker) transmit(i int, b []byte) error {
	c := &w.conns[i]
	if c.blocked {
		c.out = append(c.out, b...)
		if len(c.out) > maxWaiting {
			return errNotRead
		}
		return nil
	}
	n, errno := send(c.fd, b)
	switch {
	case errno == unix.EAGAIN:
		n = 0
	case errno != 0:
		return fmt.Errorf("send: %w", errno)
	}
	if n == len(b) {
		return nil
	}
	c.out = append(c.out, b[n:]...)
	c.blocked = true
	if err := w.poll.watch(unix.EPOLL_CTL_MOD, int(c.fd), int32(i), unix.EPOLLIN|unix.EPOLLOUT); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

func (w *worker) read(i int) {
	c := &w.conns[i]
	n, errno := recv(c.fd, w.input)
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		return
	case errno != 0:
		w.endConn(i, "recv: "+errno.Error())
		return
	case n == 0:
		w.endConn(i, "the server closed the connection")
		return
	}
	at := monotonic()
	if c.tls != nil {
		w.decrypt(i, w.input[:n], at)
		return
	}
	w.received(i, w.input[:n], at)
}

// received handles what the server has sent, after TLS.
func (w *worker) received(i int, b []byte, at int64) {
	c := &w.conns[i]
	if skipped := min(c.skip, len(b)); skipped > 0 {
		c.skip -= skipped
		w.bytes.Add(int64(skipped))
		b = b[skipped:]
	}
	if len(c.in) > 0 {
		c.in = append(c.in, b...)
		b = c.in
	}
	rest := w.handleRead(i, b, at)
	switch {
	case c.state == gone:
	case len(rest) == 0:
		c.in = nil
	default:
		c.in = append([]byte(nil), rest...)
	}
}

// handleRead handles complete frames and returns the rest.
func (w *worker) handleRead(i int, b []byte, at int64) []byte {
	c := &w.conns[i]
	if c.state == handshaking {
		if b = w.answered(i, b, at); c.state == handshaking {
			return b
		}
	}
	for c.state != gone && len(b) > 0 {
		h, err := w.readHead(b)
		if err != nil {
			w.endConn(i, err.Error())
			return nil
		}
		if h.size == 0 {
			return b
		}
		whole := h.size + h.length
		if whole > len(b) {
			return w.long(i, h, b, at)
		}
		w.handleFrame(i, h, b[h.size:whole], at)
		b = b[whole:]
	}
	return b
}

// longFrame is the length above which a frame is not collected if its beginning
// shows that its contents do not matter, such as a list of presences.
const (
	longFrame = 16 << 10
	beginning = 1 << 10
)

// long handles an incomplete frame, and returns what to keep of it.
func (w *worker) long(i int, h frameHead, b []byte, at int64) []byte {
	c := &w.conns[i]
	if h.length < longFrame || len(b) < beginning || !h.final || h.op != opText || c.state != joined {
		return b
	}
	m, ok := parseMessage(b[h.size:])
	if !ok || !w.skippable(i, &m) {
		return b
	}
	w.bytes.Add(int64(len(b)))
	c.skip = h.size + h.length - len(b)
	w.job.message(i, &m, h.length, at)
	return nil
}

// skippable reports whether a message is only counted.
func (w *worker) skippable(i int, m *message) bool {
	if v, ok := w.job.(*watching); ok && v.is(i) {
		return false
	}
	return isPresence(m)
}

func (w *worker) handleFrame(i int, h frameHead, payload []byte, at int64) {
	switch h.op {
	case opPing:
		w.frame = w.appendFrame(w.frame[:0], opPong, payload)
		w.send(i, w.frame)
		return
	case opPong:
		return
	case opClose:
		w.endConn(i, closeReason(payload))
		return
	}
	w.bytes.Add(int64(h.size + len(payload)))
	if !h.final || h.op == opContinuation {
		w.partial[i] = append(w.partial[i], payload...)
		if !h.final {
			return
		}
		payload = w.partial[i]
		delete(w.partial, i)
	}
	m, ok := parseMessage(payload)
	if !ok {
		w.fail("not a message of version 2: %.60q", payload)
		return
	}
	w.handleMessage(i, &m, len(payload), at)
}

// handleMessage handles messages of joining itself, and passes on others.
func (w *worker) handleMessage(i int, m *message, size int, at int64) {
	c := &w.conns[i]
	switch event := string(m.event); {
	case event == "phx_reply" && c.state == joining && string(m.ref) == joinRef:
		w.joinAnswered(i, m, at)
	case event == "phx_reply" && string(m.ref) == beatRef:
		w.beatsAnswered.Add(1)
	case (event == "phx_error" || event == "phx_close") && string(m.joinRef) == joinRef:
		w.endConn(i, "the channel ended with "+event)
	case c.state == joined:
		w.job.message(i, m, size, at)
	}
}

// refs of what every connection sends.
const (
	joinRef = "1"
	beatRef = "hb"
)

// endConn closes a connection and counts the reason.
func (w *worker) endConn(i int, why string) {
	c := &w.conns[i]
	was := c.state
	if was == gone {
		return
	}
	c.state = gone
	c.in, c.out = nil, nil
	if was == securing {
		c.tls.stop()
	}
	c.tls = nil
	delete(w.partial, i)
	if c.fd >= 0 {
		unix.Close(int(c.fd))
	}
	w.fail("%s", [...]string{unopened: "", connecting: "", securing: "in the handshake of TLS: ", handshaking: "in the handshake: ", joining: "while joining: ", joined: ""}[was]+why)
	if was < joined {
		w.failed.Add(1)
		w.opener.inFlight--
		return
	}
	w.ended.Add(1)
	if !w.share.Publishing {
		w.topic[c.topic].receivers.Add(-1)
	}
	w.job.left(i)
}
