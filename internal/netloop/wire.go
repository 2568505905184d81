package netloop

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"
)

// Wire is the connection below a tls.Conn. Once the TLS handshake is over, it lets a loop with epoll move the bytes of
// the tls.Conn itself: such a connection has no goroutine, and no buffer while it is idle. Before that, on other loops,
// and after [Conn.Detach], it behaves like the connection that it was made from.
type Wire struct {
	net.Conn // nil while a loop moves the bytes

	unread []byte // bytes to read before those of Conn, or all that the loop has received
	sealed []byte // what the tls.Conn has written for the loop, at most maxSealed bytes
	full   bool   // it tried to write more than that

	record record
	empty  int32 // recordsPerEmpty for each record without data, less the number of records with data
	ended  func()
	once   sync.Once
	turn   *handshakeTurn // nil unless a handshake is under way
}

// NewWire wraps c for a tls.Conn. unread was already read from c; the Wire takes it over. ended may be nil. It is called
// once, on any goroutine, when the connection is closed.
func NewWire(c net.Conn, unread []byte, ended func()) *Wire {
	return &Wire{Conn: c, unread: unread, ended: ended}
}

// maxSealed bounds the encrypted bytes that wait, in bytes. The frames for a peer that does
// not read wait unencrypted, but the peer can make crypto/tls itself write answers, such as
// those to key updates, without limit.
const maxSealed = 4 * sealChunk

// A client may send records without data: key updates, each of which costs the server some
// microseconds. Real clients send one in 2^24 records or less often. A Wire permits
// maxEmptyRecords of them, plus one for every recordsPerEmpty records with data. Without this
// bound, twenty clients that sent nothing else delayed a chat by 760 ms.
const (
	maxEmptyRecords = 64
	recordsPerEmpty = 256
)

// errEmptyRecords is the reason when a connection is closed because it sent too many of them.
var errEmptyRecords = errors.New("netloop: too many TLS records without data")

// errAgain means that the loop has no more bytes. It is a temporary net.Error, so the tls.Conn can be read again after
// it.
type errAgain struct{}

func (errAgain) Error() string   { return "netloop: no bytes yet" }
func (errAgain) Timeout() bool   { return true }
func (errAgain) Temporary() bool { return true }

// Read implements net.Conn. It does not block while a loop moves the bytes.
func (w *Wire) Read(p []byte) (int, error) {
	if w.Conn == nil && w.record.head == 0 && w.empty > maxEmptyRecords*recordsPerEmpty { // the last record has been read
		return 0, errEmptyRecords
	}
	if len(w.unread) > 0 {
		n := copy(p, w.unread[:min(len(w.unread), w.record.left())]) // one record at a time, so that records are counted
		w.pass(p[:n])
		if w.unread = w.unread[n:]; len(w.unread) == 0 {
			w.unread = nil // frees it
		}
		return n, nil
	}
	if w.Conn == nil {
		return 0, errAgain{}
	}
	n, err := w.readConn(p)
	w.pass(p[:n])
	return n, err
}

// readConn reads from Conn, and lets other handshakes compute meanwhile.
func (w *Wire) readConn(p []byte) (int, error) {
	if w.turn != nil {
		w.turn.giveBack()
		defer w.turn.take()
	}
	return w.Conn.Read(p)
}

// pass follows the records in the bytes that the tls.Conn reads.
func (w *Wire) pass(b []byte) {
	for len(b) > 0 {
		n := min(len(b), w.record.left())
		if w.record.pass(b[:n]) && w.Conn == nil {
			w.empty += recordsPerEmpty
		}
		b = b[n:]
	}
}

// noteData notes that the last record had data.
func (w *Wire) noteData() { w.empty = max(0, w.empty-recordsPerEmpty-1) }

// record is a place in a stream of TLS records (RFC 8446, 5.1).
type record struct {
	head uint8  // how many of the recordHead bytes of the head have passed
	body uint16 // how many bytes of the content are left, once the head has passed
}

const recordHead = 5

// left returns how many bytes are left of the head or, after it, of the content.
func (r *record) left() int {
	if r.head < recordHead {
		return recordHead - int(r.head)
	}
	return int(r.body)
}

// pass follows at most left bytes, and reports whether they complete a head.
func (r *record) pass(b []byte) (begins bool) {
	if r.head == recordHead {
		r.body -= uint16(len(b))
	} else {
		for _, x := range b {
			r.head++
			r.body = r.body<<8 | uint16(x) // the last two of the head remain
		}
		begins = r.head == recordHead
	}
	if r.head == recordHead && r.body == 0 {
		r.head = 0
	}
	return begins
}

// Write implements net.Conn.
func (w *Wire) Write(p []byte) (int, error) {
	if w.Conn == nil {
		if len(w.sealed)+len(p) > maxSealed {
			w.full = true
			return 0, ErrSlowReceiver
		}
		w.sealed = append(w.sealed, p...)
		return len(p), nil
	}
	return w.Conn.Write(p)
}

// SetWriteDeadline implements net.Conn. A tls.Conn sets one for its last alert.
func (w *Wire) SetWriteDeadline(t time.Time) error {
	if w.Conn == nil {
		return nil
	}
	return w.Conn.SetWriteDeadline(t)
}

// CloseWrite ends only our side of the stream. Closing a connection with unread bytes would send a reset, which could
// overtake the last frame.
func (w *Wire) CloseWrite() error {
	if half, ok := w.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return net.ErrClosed
}

// Close implements net.Conn.
func (w *Wire) Close() error {
	w.end()
	if w.Conn == nil {
		return net.ErrClosed
	}
	return w.Conn.Close()
}

// NetConn returns the connection that w was made from, or that Detach returned; nil while a loop moves the bytes.
func (w *Wire) NetConn() net.Conn { return w.Conn }

func (w *Wire) end() {
	if w.ended != nil {
		w.once.Do(w.ended)
	}
}

// NewTLSListener returns a listener for TLS connections that loops with epoll serve without goroutines.
func NewTLSListener(l net.Listener, config *tls.Config) net.Listener {
	return &tlsListener{Listener: l, config: config}
}

type tlsListener struct {
	net.Listener
	config *tls.Config
}

// Accept implements net.Listener.
func (l *tlsListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return tls.Server(NewWire(c, nil, nil), l.config), nil
}
