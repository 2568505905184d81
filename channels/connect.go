package channels

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/callback"
	"github.com/mycelium-rt/mycelium/internal/frames"
	"github.com/mycelium-rt/mycelium/wire"
)

// checkOrigin refuses a request from a page that may not connect.
func (m *mount) checkOrigin(r *Request) *admission.Refusal {
	allowed, err := askOrigin(m.options.CheckOrigin, r)
	switch {
	case err != nil:
		return m.endpoint.crashRefusal(err)
	case allowed:
		return nil
	}
	return m.endpoint.originRefusal(m, r)
}

// connect makes the checks that are common to all transports, and then calls
// the application's Connect.
func (s *Socket) connect(ctx context.Context, r *Request) *admission.Refusal {
	e := s.endpoint
	s.network = e.gate.Network(r.RemoteAddr.Addr())
	if err := s.chooseEncoding(s.mount.options.Dialect, r); err != nil {
		if ref := e.crashRefusal(err); ref != nil {
			return ref
		}
		e.gate.Refusals.Version.Add(1)
		e.log.Warn("protocol version refused").Err(err).Str("path", r.URL.Path).Write()
		return admission.Forbidden
	}
	s.keepCertificate(r.Certificate)
	start := time.Now()
	if err := s.callConnect(ctx, r); err != nil {
		return e.connectRefusal(err, r)
	}
	if ref := s.nameSession(r); ref != nil {
		return ref
	}
	s.logAccepted(r, start)
	return nil
}

// chooseEncoding gets the serializer for a new socket from a dialect.
func (s *Socket) chooseEncoding(dialect wire.Dialect, r *Request) (err error) {
	defer callback.Recover("Dialect", &err)
	_, hasVersion := r.Params["vsn"]
	serializer, err := dialect(wire.Offer{Version: r.Params.Get("vsn"), HasVersion: hasVersion, TextOnly: s.key.Framing.TextOnly()})
	if err != nil {
		return err
	}
	s.key.Encoding, err = frames.EncodingOf(serializer)
	return err
}

// connectRefusal returns the answer to a client that Connect refused with err.
func (e *Endpoint) connectRefusal(err error, r *Request) *admission.Refusal {
	if ref := e.crashRefusal(err); ref != nil {
		return ref
	}
	e.gate.Refusals.Denied.Add(1)
	e.log.Debug("connect refused").Err(err).Str("path", r.URL.Path).Addr("address", r.RemoteAddr).Write()
	var custom *RefusedError
	if errors.As(err, &custom) {
		return custom.refusal()
	}
	return admission.Forbidden
}

func askOrigin(check OriginCheck, r *Request) (allowed bool, err error) {
	defer callback.Recover("CheckOrigin", &err)
	origin := admission.RequestOrigin(r.Header)
	return origin == nil || check(r, origin), nil
}

func (s *Socket) callConnect(ctx context.Context, r *Request) (err error) {
	connect := s.mount.options.Connect
	if connect == nil {
		return nil
	}
	defer callback.Recover("Connect", &err)
	s.place = connecting
	defer func() { s.place = 0 }()
	return connect(ctx, s, r)
}

// crashRefusal returns the answer to a client for which the application
// panicked, nil if err is not a panic.
func (e *Endpoint) crashRefusal(err error) *admission.Refusal {
	if !e.reportPanic(err) {
		return nil
	}
	e.gate.Refusals.Crashed.Add(1)
	return admission.Crashed
}

// refusal returns the answer that e chooses. A nil e refuses too, because a typed nil
// is an error.
func (e *RefusedError) refusal() *admission.Refusal {
	if e == nil {
		return admission.Forbidden
	}
	r := &admission.Refusal{Status: e.Status, Body: e.Body}
	if r.Status < 400 || r.Status > 599 {
		r.Status = http.StatusForbidden
	}
	if e.RetryAfter > 0 {
		seconds := (e.RetryAfter + time.Second - 1) / time.Second
		r.Header = http.Header{"Retry-After": {strconv.Itoa(int(seconds))}}
	}
	return r
}
