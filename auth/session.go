package auth

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
)

// The events of tokens, on any channel of a socket.
const (
	// AccessTokenEvent is pushed by a client to renew its token, with the
	// payload {"access_token": "…"}, as Supabase's clients do in setAuth
	// (realtime-js, src/RealtimeClient.ts). The reply is ok, or error with the
	// reason "unauthorized"; then the old token stays in force.
	AccessTokenEvent = "access_token"
	// ExpiringEvent is pushed by the server Options.Warning before a token
	// expires, with the payload {"expires_in": seconds}, and again after half
	// of the remaining time, while there are at least 10 s left. Clients cannot
	// push it.
	ExpiringEvent = "token_expiring"
)

// CloseExpired is the WebSocket close code of a socket whose token has expired:
// policy violation (RFC 6455, 7.4.1). Clients reconnect, as after any code
// except 1000, and then need a new token.
const CloseExpired = 1008

const (
	// renewTimeout bounds a renewal, which may have to fetch keys.
	renewTimeout = 15 * time.Second
	// maxRenewals bounds the concurrent renewals of one socket: realtime-js
	// sends one on each of its channels.
	maxRenewals = 128
)

var (
	errMayNotJoin    = errors.New("auth: the token does not permit joining this topic")
	errMayNotPublish = errors.New("auth: the token does not permit publishing to this topic")
	errServersEvent  = errors.New("auth: " + ExpiringEvent + " is the server's own event")
	errRenewals      = channels.Errorf("too many tokens at once")
	errNotRenewed    = channels.Errorf("unauthorized")
)

// session is the guard of one socket.
type session struct {
	// Static after construction.
	verifier *Verifier
	socket   *channels.Socket

	grant    atomic.Pointer[grant]
	renewals atomic.Int32 // in progress

	// renewing is held while a new token is verified and replaces the old one.
	// Lock order: renewing, then expiry.mu.
	renewing sync.Mutex

	// Guarded by expiry.mu.
	due   time.Time // when the next action is due
	place int       // in the heap; -1: not in it
	open  bool
}

func newSession(v *Verifier, s *channels.Socket, g *grant) *session {
	session := &session{verifier: v, socket: s, place: -1}
	session.grant.Store(g)
	return session
}

// Current returns the claims of the present token of a socket that a Verifier
// has admitted, nil for any other socket. If the client has renewed its token,
// they are newer than the socket's assigns.
func Current(s *channels.Socket) Claims {
	session, ok := s.Guard().(*session)
	if !ok {
		return nil
	}
	return session.grant.Load().claims
}

// Client implements channels.Guard: it returns the token's subject.
func (s *session) Client() string { return s.grant.Load().subject }

// Opened implements channels.Guard. A token that was revoked after it was verified may
// have been missed by those who close sockets.
func (s *session) Opened() {
	s.verifier.expiry.watchSession(s)
	s.closeIfRevoked()
}

func (s *session) closeIfRevoked() {
	if s.verifier.revokes(s.grant.Load()) {
		s.socket.Close(CloseRevoked, "token revoked")
	}
}

// Closed implements channels.Guard.
func (s *session) Closed() { s.verifier.expiry.unwatchSession(s) }

// Join implements channels.Guard.
func (s *session) Join(topic string) error {
	if s.mayJoin(s.grant.Load(), topic) {
		return nil
	}
	return errMayNotJoin
}

func (s *session) mayJoin(g *grant, topic string) bool {
	return g.permits(topic) && (s.verifier.join.fixed.match(topic) || g.join.match(topic))
}

// Event implements channels.Guard. It is called for each message, and does not
// allocate for a permitted one.
func (s *session) Event(topic string, event []byte) (channels.EventFunc, error) {
	switch string(event) {
	case AccessTokenEvent:
		if s.renewals.Add(1) > maxRenewals {
			s.renewals.Add(-1)
			return nil, errRenewals
		}
		return s.renew, nil
	case ExpiringEvent:
		return nil, errServersEvent
	}
	if g := s.grant.Load(); g.permits(topic) && (s.verifier.publish.fixed.match(topic) || g.publish.match(topic)) {
		return nil, nil
	}
	return nil, errMayNotPublish
}

// renew handles a new token from a client.
func (s *session) renew(_ *channels.Context, p channels.Payload) (channels.Reply, error) {
	defer s.renewals.Add(-1)
	var message struct {
		Token string `json:"access_token"`
	}
	if p.Binary || json.Unmarshal(p.Data, &message) != nil {
		return channels.Reply{}, s.notRenewed(refused(Malformed, "the payload has no access_token"))
	}
	s.renewing.Lock()
	defer s.renewing.Unlock()
	old := s.grant.Load()
	if old.sameToken(sha256.Sum256([]byte(message.Token))) {
		return channels.Reply{Status: "ok"}, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), renewTimeout)
	defer cancel()
	g, ref := s.verifier.grant(ctx, message.Token)
	if ref == nil && (g.subject != old.subject || g.socketID != old.socketID) {
		ref = refused(OtherSubject, "")
	}
	if ref != nil {
		return channels.Reply{}, s.notRenewed(ref)
	}
	s.replace(g)
	return channels.Reply{Status: "ok"}, nil
}

// notRenewed logs why a renewal was refused, and returns the error for the
// client.
func (s *session) notRenewed(ref *RefusedError) error {
	s.verifier.log.Warn("new token refused").Str("reason", string(ref.Reason)).Str("detail", ref.Detail).
		Str("socket", s.socket.ID()).Write()
	return errNotRenewed
}

// replace puts a new grant into force. Channels that it does not permit end
// with phx_close, after which clients do not rejoin by themselves.
func (s *session) replace(g *grant) {
	s.grant.Store(g)
	s.verifier.expiry.renew(s)
	s.closeIfRevoked()
	s.socket.EachChannel(func(c *channels.Context) {
		if !s.mayJoin(s.grant.Load(), c.Topic()) {
			c.Stop(nil)
		}
	})
}

// act does what is due, and returns when the next action is due; zero means
// never.
func (s *session) act(now time.Time, warning time.Duration) time.Time {
	ends := s.grant.Load().ends
	if ends.IsZero() {
		return ends
	}
	left := ends.Sub(now)
	switch {
	case left <= 0:
		s.socket.Close(CloseExpired, "token expired")
		return time.Time{}
	case left > warning:
		return ends.Add(-warning)
	}
	seconds := int64((left + time.Second - 1) / time.Second)
	s.socket.EachChannel(func(c *channels.Context) {
		c.Push(ExpiringEvent, map[string]int64{"expires_in": seconds}) //nolint:errcheck // a channel that has ended needs no warning
	})
	if left < 2*lastWarning {
		return ends
	}
	return now.Add(left / 2)
}

// lastWarning is the shortest time before expiry of another warning.
const lastWarning = 5 * time.Second
