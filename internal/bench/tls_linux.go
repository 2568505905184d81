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

// secured is the TLS of one connection. crypto/tls blocks during the handshake, which
// the worker must not: the handshake is a coroutine that yields while there is
// nothing to read. After it, a read without input fails with an error that crypto/tls
// takes for temporary.
type secured struct {
	*tls.Conn
	wire *ciphertext
	// resume continues the handshake until it needs more input, or until it is done,
	// when it returns false. stop abandons it.
	resume func() (struct{}, bool)
	stop   func()
	err    error // of the handshake
}

// ciphertext is the net.Conn under crypto/tls. It reads what the worker has received
// on a connection.
type ciphertext struct {
	w    *worker
	i    int
	in   []byte              // valid while the worker reads
	wait func(struct{}) bool // during the handshake: waits for input; false when it is abandoned
}

// noBytes is a temporary net.Error, after which crypto/tls can read again.
type noBytes struct{}

func (noBytes) Error() string   { return "nothing to read now" }
func (noBytes) Timeout() bool   { return true }
func (noBytes) Temporary() bool { return true }

var errNoBytes net.Error = noBytes{}

func (c *ciphertext) Read(b []byte) (int, error) {
	for len(c.in) == 0 {
		if c.wait == nil {
			return 0, errNoBytes
		}
		if !c.wait(struct{}{}) {
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

// The worker closes descriptors and watches the time itself.

func (c *ciphertext) Close() error                     { return nil }
func (c *ciphertext) LocalAddr() net.Addr              { return nil }
func (c *ciphertext) RemoteAddr() net.Addr             { return nil }
func (c *ciphertext) SetDeadline(time.Time) error      { return nil }
func (c *ciphertext) SetReadDeadline(time.Time) error  { return nil }
func (c *ciphertext) SetWriteDeadline(time.Time) error { return nil }

// tlsConfigs returns the configurations of the targets, nil for those without TLS.
func tlsConfigs(p *plan) []*tls.Config {
	var roots *x509.CertPool // nil means the system's
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
			DynamicRecordSizingDisabled: true, // one send for each message of up to 16 KiB
		}
		if p.Resume {
			configs[i].ClientSessionCache = tls.NewLRUClientSessionCache(1) // there is one server
		}
		if !p.TCP {
			configs[i].NextProtos = []string{"http/1.1"}
		}
	}
	return configs
}

// secure begins the TLS handshake on an established connection.
func (w *worker) secure(i int, config *tls.Config) {
	wire := &ciphertext{w: w, i: i}
	s := &secured{Conn: tls.Client(wire, config), wire: wire}
	s.resume, s.stop = iter.Pull(func(yield func(struct{}) bool) {
		wire.wait = yield
		s.err = s.Handshake()
		wire.wait = nil
	})
	w.conns[i].tls, w.conns[i].state = s, securing
	w.continueTLS(i)
}

// continueTLS continues the handshake as far as it can, and sends the request after
// it.
func (w *worker) continueTLS(i int) {
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

// decrypt handles what a connection with TLS has received.
func (w *worker) decrypt(i int, b []byte, at int64) {
	c := &w.conns[i]
	s := c.tls
	s.wire.in = b
	if c.state == securing {
		w.continueTLS(i)
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
