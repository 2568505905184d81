package conformance

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// sampleKey is the Sec-WebSocket-Key of all handshakes (RFC 6455, section 1.3).
const sampleKey = "dGhlIHNhbXBsZSBub25jZQ=="

// writeLimit is how long a server may leave what we write unread.
const writeLimit = 20 * time.Second

// client is a WebSocket connection. It has to do what a client must not do, so it does not
// check what it sends. It checks everything that it receives.
type client struct {
	number int
	inbox  *inbox
	conn   net.Conn
	method string // of the handshake: the answer to HEAD has no body

	upgraded   atomic.Bool   // the answer was 101
	peerClosed atomic.Bool   // a close frame arrived, or the connection ended
	sentClose  atomic.Bool   // we sent a close frame
	dropped    atomic.Bool   // we ended the connection
	broken     atomic.Bool   // a write failed, so the end counts as a reset
	finished   chan struct{} // closed when the reader is done

	writing sync.Mutex
}

// dialClient connects, writes the request and starts to read the answer.
func dialClient(ctx context.Context, addr string, number int, method string, request []byte, in *inbox) (*client, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &client{number: number, inbox: in, conn: conn, method: method, finished: make(chan struct{})}
	go c.read()
	c.write(request)
	return c, nil
}

// canSend reports whether the connection is open. Sending on a closed one does nothing.
func (c *client) canSend() bool { return c.upgraded.Load() && !c.peerClosed.Load() }

// write sends bytes. It does not report errors, because the reader sees the end.
func (c *client) write(data []byte) {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.writeLocked(data)
}

// writeLocked is write for callers that hold c.writing.
func (c *client) writeLocked(data []byte) {
	_ = c.conn.SetWriteDeadline(time.Now().Add(writeLimit))
	if _, err := c.conn.Write(data); err != nil {
		c.broken.Store(true)
	}
}

// dropTCP ends the TCP connection without a close frame.
func (c *client) dropTCP() {
	c.dropped.Store(true)
	_ = c.conn.Close()
	<-c.finished
}

// closeAndWait ends the connection and waits a moment for the server to do the same, so
// that its channels are gone in the next scenario.
func (c *client) closeAndWait(patience time.Duration) {
	c.dropped.Store(true)
	if tcp, ok := c.conn.(*net.TCPConn); ok && tcp.CloseWrite() == nil {
		select {
		case <-c.finished:
		case <-time.After(patience):
		}
	}
	_ = c.conn.Close()
	<-c.finished
}

// read is the goroutine of a connection. It reads the answer, then frames to the end.
func (c *client) read() {
	defer close(c.finished)
	reader := bufio.NewReaderSize(c.conn, 64<<10)
	response, err := http.ReadResponse(reader, &http.Request{Method: c.method}) //nolint:bodyclose // the rest is read from reader
	if err != nil {
		c.stopReading(fmt.Errorf("no answer to the handshake: %w", err))
		return
	}
	answer := readAnswer(c.conn, response)
	if answer.status != http.StatusSwitchingProtocols {
		c.inbox.put(event{client: c.number, kind: eventOpened, opened: answer})
		return // the end of a refused connection is not observed
	}
	m := &messageReader{client: c, reader: reader}
	for _, e := range parseExtensions(strings.Join(answer.header.Values("Sec-Websocket-Extensions"), ",")) {
		if e.name == deflateName || e.name == webkitName {
			m.inflater = newInflater(e)
		}
	}
	c.upgraded.Store(true)
	c.inbox.put(event{client: c.number, kind: eventOpened, opened: answer})
	for err == nil {
		err = m.next()
	}
	c.stopReading(err)
}

// stopReading reports why reading stopped.
func (c *client) stopReading(err error) {
	c.peerClosed.Store(true)
	switch {
	case c.dropped.Load():
	case isViolation(err):
		c.inbox.put(event{client: c.number, kind: eventViolation, err: err})
		_ = c.conn.Close()
	default:
		clean := errors.Is(err, io.EOF) && !c.broken.Load()
		c.inbox.put(event{client: c.number, kind: eventEnd, reset: !clean})
	}
}

// messageReader assembles messages from frames.
type messageReader struct {
	client   *client
	reader   *bufio.Reader
	inflater *inflater // nil without compression

	opcode     int // of the incomplete message, 0 if there is none
	compressed bool
	payload    []byte
}

// next reads a frame, and reports a message that it completes.
func (m *messageReader) next() error {
	f, err := readFrame(m.reader)
	if err != nil {
		return err
	}
	if m.client.peerClosed.Load() {
		return violationf("opcode %d after a close frame", f.opcode)
	}
	if f.masked {
		return violationf("a masked frame")
	}
	if f.opcode >= opClose {
		return m.control(f)
	}
	switch {
	case f.opcode > opBinary:
		return violationf("opcode %d", f.opcode)
	case f.opcode == opContinuation && m.opcode == 0:
		return violationf("a continuation frame without a message")
	case f.opcode != opContinuation && m.opcode != 0:
		return violationf("a new message within another")
	case f.rsv&^rsv1 != 0, f.rsv != 0 && (m.inflater == nil || f.opcode == opContinuation):
		return violationf("reserved bits %03b", f.rsv)
	}
	if f.opcode != opContinuation {
		m.opcode, m.compressed, m.payload = f.opcode, f.rsv&rsv1 != 0, nil
	}
	m.payload = append(m.payload, f.payload...)
	if !f.fin {
		return nil
	}
	return m.complete()
}

func (m *messageReader) complete() error {
	opcode, payload := m.opcode, m.payload
	m.opcode, m.payload = 0, nil
	if m.compressed {
		var err error
		if payload, err = m.inflater.message(payload); err != nil {
			return err
		}
	}
	if opcode == opBinary {
		m.client.inbox.put(event{client: m.client.number, kind: eventBinary, data: payload})
		return nil
	}
	if !utf8.Valid(payload) {
		return violationf("a text message that is not UTF-8: %q", short(string(payload)))
	}
	m.client.inbox.put(event{client: m.client.number, kind: eventText, text: string(payload)})
	return nil
}

// control answers pings and close frames, and reports pongs and close frames.
func (m *messageReader) control(f rawFrame) error {
	c := m.client
	switch {
	case !f.fin || len(f.payload) > 125 || f.rsv != 0:
		return violationf("a control frame that is fragmented, long or has reserved bits")
	case f.opcode == opPing:
		c.write(plainFrame(opPong, f.payload).appendTo(nil))
	case f.opcode == opPong:
		c.inbox.put(event{client: c.number, kind: eventPong, data: f.payload})
	case f.opcode == opClose:
		return m.closeFrame(f.payload)
	default:
		return violationf("opcode %d", f.opcode)
	}
	return nil
}

func (m *messageReader) closeFrame(payload []byte) error {
	c := m.client
	ev := event{client: c.number, kind: eventClosed, code: noCode}
	if len(payload) == 1 {
		return violationf("a close frame with half a code")
	}
	if len(payload) >= 2 {
		ev.code, ev.text = int(binary.BigEndian.Uint16(payload)), string(payload[2:])
	}
	if !utf8.ValidString(ev.text) {
		return violationf("a close reason that is not UTF-8")
	}
	c.peerClosed.Store(true)
	c.inbox.put(ev)
	if !c.sentClose.Swap(true) {
		var code *int
		if ev.code != noCode {
			code = &ev.code
		}
		// A write may be stuck because the server no longer reads. The answer must
		// not wait for it.
		if c.writing.TryLock() {
			c.writeLocked(plainFrame(opClose, closePayload(code, "")).appendTo(nil))
			c.writing.Unlock()
		}
	}
	return nil
}
