package channels

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/internal/logging"
)

// Every log line of this package begins here or at Endpoint.log. Clients can
// cause most of them, so they are limited per kind and second, and their fields
// are cut. See logging.Log.

// line begins a line about a socket.
func (s *Socket) line(level zerolog.Level, message string) logging.Line {
	return s.named(s.endpoint.log.Line(level, message))
}

// named adds the socket's id, if it has one.
func (s *Socket) named(l logging.Line) logging.Line {
	if l.On() && s.ID() != "" {
		l.Str("socket", s.ID())
	}
	return l
}

// line begins a line about a joined channel.
func (c *Context) line(level zerolog.Level, message string) logging.Line {
	l := c.socket.endpoint.log.Line(level, message)
	if l.On() {
		c.socket.named(l.Str("topic", c.topic))
	}
	return l
}

// startedLine begins a debug line about something that takes time.
func (c *Context) startedLine(message string) (l logging.Line, start time.Time) {
	if l = c.line(zerolog.DebugLevel, message); l.On() {
		start = time.Now()
	}
	return l, start
}

// failure begins a line about an error returned by a callback. If the error
// only says that the channel has ended, which is not a failure, the level is
// debug.
func (c *Context) failure(err error, message string) logging.Line {
	level := zerolog.ErrorLevel
	if c.saysEnded(err) {
		level = zerolog.DebugLevel
	}
	return c.line(level, message).Err(err)
}

// saysEnded reports whether an error only says that the channel has ended. Its
// methods return such errors after the end, and so do contexts derived from it.
func (c *Context) saysEnded(err error) bool {
	for _, end := range []error{ErrEnded, ErrLeft, ErrClosed, ErrRejoined, ErrStopped, ErrJoinTimeout} {
		if errors.Is(err, end) {
			return true
		}
	}
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	return c.life.cause != nil && errors.Is(err, context.Canceled)
}

// logAccepted logs a connect at level debug.
func (s *Socket) logAccepted(r *Request, start time.Time) {
	if l := s.endpoint.log.Debug("socket connected"); l.On() {
		s.named(l.Str("transport", r.Transport).Str("path", r.URL.Path).Addr("address", r.RemoteAddr).
			Str("version", s.key.Encoding.Serializer().Version()).Took(start)).Write()
	}
}

// logClosed logs the end of a socket's connection and its reason at level
// debug.
func (s *Socket) logClosed(reason error) {
	if l := s.endpoint.log.Debug("socket closed"); l.On() {
		s.named(l.Str("transport", s.transport.name()).Str("reason", reason.Error())).Write()
	}
}

// logRefusedJoin logs a join that the socket itself refuses at level debug.
func (s *Socket) logRefusedJoin(topic []byte, reason string) {
	if l := s.endpoint.log.Debug("join refused"); l.On() {
		s.named(l.Str("topic", string(topic)).Str("reason", reason)).Write()
	}
}

// logLost logs a connection that could not be taken from its loop.
func (e *Endpoint) logLost(err error) {
	if outOfDescriptors(err) {
		e.logNetwork(err)
		return
	}
	e.log.Debug("connection lost before its request").Err(err).Write()
}

func outOfDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// logNetwork logs an error of the loops.
func (e *Endpoint) logNetwork(err error) {
	if outOfDescriptors(err) {
		e.log.Error("out of file descriptors: new connections wait until others are closed").Err(err).
			Str("help", "raise the limit on open files (ulimit -n, LimitNOFILE=); \"mycelium doctor\" shows what bounds connections").Write()
		return
	}
	e.log.Error("network").Err(err).Write()
}

// limitReached logs that a limit has ended the socket. limit is its name in a
// configuration.
func (s *Socket) limitReached(limit, detail string) {
	s.line(zerolog.WarnLevel, "socket closed by a limit").Str("limit", limit).Str("detail", detail).Write()
}
