package netloop

import (
	"errors"
	"io"
	"net"
	"syscall"
)

// Reasons for [Handler.HandleClose], besides those that the handler itself gives to Close.
var (
	// ErrPeerClosed: the peer ended the stream (FIN). What it sent before was handed to HandleData first.
	ErrPeerClosed = errors.New("netloop: closed by peer")
	// ErrPeerReset: the peer reset the connection.
	ErrPeerReset = errors.New("netloop: reset by peer")
	// ErrPeerGone: the peer answered neither data nor keepalive probes for Options.PeerTimeout.
	ErrPeerGone = errors.New("netloop: peer does not answer")
	// ErrSlowReceiver: more than Options.OutboundLimit bytes waited, and the policy is CloseSlow.
	ErrSlowReceiver = errors.New("netloop: receiver too slow")
	// ErrClosed: the group was closed. Also returned by Listen, Serve and Adopt afterwards.
	ErrClosed = errors.New("netloop: group closed")
)

// Errors of [Conn.Detach] that leave the connection as it was.
var (
	// ErrFramesWaiting: frames wait that the socket does not take for now.
	ErrFramesWaiting = errors.New("netloop: frames are waiting")
	// ErrReading: a portable connection can be detached only from HandleOpen and HandleData, or while reading is paused.
	ErrReading = errors.New("netloop: a read is under way")
	// ErrNotOpen: the connection is closed, closing or detached already.
	ErrNotOpen = errors.New("netloop: connection not open")
)

// errNoDescriptors is why portable loops have no io_uring.
var errNoDescriptors = errors.New("netloop: io_uring needs epoll, portable connections cannot use it")

// closeReason translates an error of a socket into the reason that a handler sees.
func closeReason(err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrClosedPipe):
		return ErrPeerClosed
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNABORTED):
		return ErrPeerReset
	case errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return ErrPeerGone
	}
	return err
}
