package bench

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"iter"
	"net"
	"time"
)

// secured is the TLS of one connection. crypto/tls blocks while it shakes
// hands, and the worker must not: the handshake is a coroutine that rests while
// there is nothing to read. From then on a read without bytes ends with an
// error that crypto/tls takes for temporary.
type secured struct {
	*tls.Conn
	wire *ciphertext
	// resume goes on with the handshake until it is done, which it tells by
	// returning false, or until more must come; stop gives it up.
	resume func() (struct{}, bool)
	stop   func()
	err    error // of the handshake
}

// ciphertext is the net.Conn that crypto/tls has: what has come for a
// connection of the worker, and the way out.
type ciphertext struct {
	w    *worker
	i    int
	in   []byte              // valid while the worker reads
	rest func(struct{}) bool // during the handshake: until there is more; false when it is given up
}

// noBytes is a net.Error that is temporary, after which crypto/tls goes on.
type noBytes struct{}

func (noBytes) Error() string   { return "nothing to read now" }
func (noBytes) Timeout() bool   { return true }
func (noBytes) Temporary() bool { return true }

var errNoBytes net.Error = noBytes{}

func (c *ciphertext) Read(b []byte) (int, error) {
	for len(c.in) == 0 {
		if c.rest == nil {
			return 0, errNoBytes
		}
		if !c.rest(struct{}{}) {
			return 0, io.EOF
		}
	}
	n := copy(b, c.in)
	c.in = c.in[n:]
	return n, nil
}

func (c *ciphertext) Write(b []byte) (int, error) {
	if err := c.w.transmit(c.i, b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// What else a net.Conn has; the worker closes descriptors and looks at the time itself.

func (c *ciphertext) Close() error                     { return nil }
func (c *ciphertext) LocalAddr() net.Addr              { return nil }
func (c *ciphertext) RemoteAddr() net.Addr             { return nil }
func (c *ciphertext) SetDeadline(time.Time) error      { return nil }
func (c *ciphertext) SetReadDeadline(time.Time) error  { return nil }
func (c *ciphertext) SetWriteDeadline(time.Time) error { return nil }

// tlsConfigs are those of the targets, nil where there is no TLS.
func tlsConfigs(p *plan) []*tls.Config {
	var roots *x509.CertPool // nil: the system's
	if len(p.CA) > 0 {
		roots = x509.NewCertPool()
		roots.AppendCertsFromPEM(p.CA)
	}
	configs := make([]*tls.Config, len(p.Targets))
	for i, t := range p.Targets {
		if t.ServerName == "" {
			continue
		}
		configs[i] = &tls.Config{
			ServerName: t.ServerName, RootCAs: roots, InsecureSkipVerify: p.Insecure, //nolint:gosec // --insecure asks for it
			NextProtos:                  []string{"http/1.1"},
			DynamicRecordSizingDisabled: true, // one send for a message of up to 16 KiB
		}
	}
	return configs
}

// secure begins the handshake of TLS on a connection that has been made.
func (w *worker) secure(i int, config *tls.Config) {
	wire := &ciphertext{w: w, i: i}
	s := &secured{Conn: tls.Client(wire, config), wire: wire}
	s.resume, s.stop = iter.Pull(func(rest func(struct{}) bool) {
		wire.rest = rest
		s.err = s.Handshake()
		wire.rest = nil
	})
	w.conns[i].tls, w.conns[i].state = s, securing
	w.shake(i)
}

// shake goes on with the handshake as far as it can, and sends the request
// behind it.
func (w *worker) shake(i int) {
	c := &w.conns[i]
	s := c.tls
	if _, more := s.resume(); more {
		return
	}
	if s.err != nil {
		w.endConn(i, s.err.Error())
		return
	}
	w.request(i)
}

// decrypt takes what has come on a connection with TLS.
func (w *worker) decrypt(i int, b []byte, at int64) {
	c := &w.conns[i]
	s := c.tls
	s.wire.in = b
	if c.state == securing {
		w.shake(i)
	}
	for c.state > securing && c.state != gone {
		n, err := s.Read(w.plain)
		if n > 0 {
			w.received(i, w.plain[:n], at)
			continue
		}
		switch {
		case err == errNoBytes:
			return
		case errors.Is(err, io.EOF):
			w.endConn(i, "the server closed the connection")
		default:
			w.endConn(i, err.Error())
		}
	}
}
