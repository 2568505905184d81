package netloop

import (
	"crypto/tls"
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
	ended  func()
	once   sync.Once
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

// errAgain says that the loop has no more bytes. It is a net.Error that is temporary, after which a tls.Conn can be read
// again.
type errAgain struct{}

func (errAgain) Error() string   { return "netloop: no bytes yet" }
func (errAgain) Timeout() bool   { return true }
func (errAgain) Temporary() bool { return true }

// Read implements net.Conn. It does not block while a loop moves the bytes.
func (w *Wire) Read(p []byte) (int, error) {
	if len(w.unread) > 0 {
		n := copy(p, w.unread)
		if w.unread = w.unread[n:]; len(w.unread) == 0 {
			w.unread = nil // free it
		}
		return n, nil
	}
	if w.Conn == nil {
		return 0, errAgain{}
	}
	return w.Conn.Read(p)
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
