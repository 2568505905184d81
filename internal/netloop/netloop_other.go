//go:build !linux

package netloop

import (
	"crypto/tls"
	"errors"
	"net"
	"time"
)

// Systems without epoll. Options.Portable is always on, so only takeDescriptor
// is reached.

func newEpoll(*Loop) (poller, error) { return nil, errors.ErrUnsupported }

func (l *Loop) takeDescriptor(net.Conn) (*Conn, error) { return nil, nil }

func (l *Loop) takeSecured(*tls.Conn, *Wire) (*Conn, []byte, error) { return nil, nil, nil }

// LendsBuffers is for systems with epoll.
func LendsBuffers() bool { return true }

func (l *Loop) read(*Conn) {}

func (ln *Listener) openRaw(net.Listener) (stop func(), err error) { return nil, nil }

// setUserTimeout does nothing; keepalive has to suffice.
func setUserTimeout(net.Conn, time.Duration) {}
