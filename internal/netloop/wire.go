package netloop

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"
)

// Wire is the connection below a tls.Conn. It lets a loop with epoll move the bytes of the tls.Conn itself, once its
// handshake is over: such a connection has no goroutine, and no buffer while it is idle. Until then, for other loops,
// and after [Conn.Detach] it is the connection that it was made of.
type Wire struct {
	net.Conn // nil while a loop moves the bytes

	unread []byte // what comes before the bytes of Conn, or all that the loop has
	sealed []byte // what the tls.Conn has written for the loop, at most sealedMost
	full   bool   // it would have written more

	record  record
	useless int32 // records without data, by uselessCost, less those with data
	ended   func()
	once    sync.Once
	turn    *handshakeTurn // nil unless a handshake is under way
}

// NewWire returns c for a tls.Conn. unread was already read from c, and is the Wire's now. ended, which may be nil, is
// called once, when the connection is closed, on any goroutine.
func NewWire(c net.Conn, unread []byte, ended func()) *Wire {
	return &Wire{Conn: c, unread: unread, ended: ended}
}

// sealedMost bounds the bytes that wait encrypted. The frames of a connection that does not
// take them wait in clear, but it may ask for answers of crypto/tls itself: to changes of
// keys, as many as it likes.
const sealedMost = 4 * sealMost

// A client may send records without data: changes of keys, each of which costs the server some
// microseconds. Those that there are send one in 2^24 records or more. A Wire permits maxUseless
// of them, and one more for each uselessCost records with data. Without this bound, twenty
// clients that do nothing else delayed a chat by 760 ms.
const (
	maxUseless  = 64
	uselessCost = 256
)

// errUseless is why a connection is closed that sends too many of them.
var errUseless = errors.New("netloop: too many TLS records without data")

// errAgain says that the loop has no more bytes. It is a net.Error that is temporary, after which a tls.Conn can be read
// again.
type errAgain struct{}

func (errAgain) Error() string   { return "netloop: no bytes yet" }
func (errAgain) Timeout() bool   { return true }
func (errAgain) Temporary() bool { return true }

// Read implements net.Conn. It does not block while a loop moves the bytes.
func (w *Wire) Read(p []byte) (int, error) {
	if w.Conn == nil && w.record.head == 0 && w.useless > maxUseless*uselessCost { // the last record has been read
		return 0, errUseless
	}
	if len(w.unread) > 0 {
		n := copy(p, w.unread[:min(len(w.unread), w.record.left())]) // a record at a time, so that they are counted
		w.pass(p[:n])
		if w.unread = w.unread[n:]; len(w.unread) == 0 {
			w.unread = nil // free it
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

// readConn lets other handshakes compute while this one waits for its peer.
func (w *Wire) readConn(p []byte) (int, error) {
	if w.turn != nil {
		w.turn.giveBack()
		defer w.turn.take()
	}
	return w.Conn.Read(p)
}

// pass follows the bytes that the tls.Conn is given.
func (w *Wire) pass(b []byte) {
	for len(b) > 0 {
		n := min(len(b), w.record.left())
		if w.record.pass(b[:n]) && w.Conn == nil {
			w.useless += uselessCost
		}
		b = b[n:]
	}
}

// useful is told of a record with data.
func (w *Wire) useful() { w.useless = max(0, w.useless-uselessCost-1) }

// record is a place in a stream of TLS records (RFC 8446, 5.1).
type record struct {
	head uint8  // bytes of its head that have passed, of recordHead
	body uint16 // bytes that are left of its content, once the head has passed
}

const recordHead = 5

// left returns how many bytes are left of the head, or of the content.
func (r *record) left() int {
	if r.head < recordHead {
		return recordHead - int(r.head)
	}
	return int(r.body)
}

// pass follows up to left bytes, and reports whether they end a head.
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
		if len(w.sealed)+len(p) > sealedMost {
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

// CloseWrite ends our side of the stream only. A last frame would otherwise be overtaken by the reset of a connection
// with unread bytes.
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

// NetConn returns the connection that w was made of, or that Detach has made of it.
func (w *Wire) NetConn() net.Conn { return w.Conn }

func (w *Wire) end() {
	if w.ended != nil {
		w.once.Do(w.ended)
	}
}

// NewTLSListener returns a listener of TLS connections that loops with epoll carry without goroutines.
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
