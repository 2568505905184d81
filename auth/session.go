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
	// AccessTokenEvent is what a client pushes to renew its token, with the
	// payload {"access_token": "…"}. supabase's clients do, in setAuth
	// (realtime-js, src/RealtimeClient.ts). It is answered ok, or error with the
	// reason "unauthorized"; then the old token counts on.
	AccessTokenEvent = "access_token"
	// ExpiringEvent is what the server pushes Options.Warning before a token
	// ends, with the payload {"expires_in": seconds}; again when half of the time
	// has gone by, while there are 10 s left. Clients cannot push it.
	ExpiringEvent = "token_expiring"
)

// CloseExpired is the WebSocket close code of a socket whose token has ended:
// policy violation (RFC 6455, 7.4.1). Clients reconnect, as after any code but
// 1000, and need a new token for it.
const CloseExpired = 1008

const (
	// renewTimeout bounds a renewal, which may have to fetch keys.
	renewTimeout = 15 * time.Second
	// maxRenewals bounds those of one socket that wait for one another: realtime-js
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
	renewals atomic.Int32 // under way

	// renewing is held while a new token is verified and takes the place of the
	// old one. Lock order: renewing, then expiry.mu.
	renewing sync.Mutex

	// Guarded by expiry.mu.
	due   time.Time // when something is to be done
	place int       // in the heap; -1: in none
	open  bool
}

func newSession(v *Verifier, s *channels.Socket, g *grant) *session {
	session := &session{verifier: v, socket: s, place: -1}
	session.grant.Store(g)
	return session
}

// Current returns the claims of the token that counts now for a socket that a
// Verifier has let in, nil for another. Where a client has renewed its token,
// they are newer than the socket's assigns.
func Current(s *channels.Socket) Claims {
	session, ok := s.Guard().(*session)
	if !ok {
		return nil
	}
	return session.grant.Load().claims
}

// Client is for channels: whom the token is for.
func (s *session) Client() string { return s.grant.Load().subject }

// Opened is for channels.
func (s *session) Opened() { s.verifier.expiry.watchSession(s) }

// Closed is for channels.
func (s *session) Closed() { s.verifier.expiry.unwatchSession(s) }

// Join is for channels.
func (s *session) Join(topic string) error {
	if s.mayJoin(s.grant.Load(), topic) {
		return nil
	}
	return errMayNotJoin
}

func (s *session) mayJoin(g *grant, topic string) bool {
	return s.verifier.join.fixed.match(topic) || g.join.match(topic)
}

// Event is for channels. It is on the way of each message: nothing is allocated
// for one that may pass.
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
	if s.verifier.publish.fixed.match(topic) || s.grant.Load().publish.match(topic) {
		return nil, nil
	}
	return nil, errMayNotPublish
}

// renew takes a new token from a client.
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

// notRenewed logs why, and returns what the client is told.
func (s *session) notRenewed(ref *RefusedError) error {
	s.verifier.log.Warn("new token refused").Str("reason", string(ref.Reason)).Str("detail", ref.Detail).
		Str("socket", s.socket.ID()).Write()
	return errNotRenewed
}

// replace has a new grant count. Channels that it does not allow end, with
// phx_close, after which clients do not rejoin by themselves.
func (s *session) replace(g *grant) {
	s.grant.Store(g)
	s.verifier.expiry.renew(s)
	s.socket.EachChannel(func(c *channels.Context) {
		if !s.mayJoin(s.grant.Load(), c.Topic()) {
			c.Stop(nil)
		}
	})
}

// act does what is due, and returns when the next thing is: zero for never.
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
		c.Push(ExpiringEvent, map[string]int64{"expires_in": seconds}) //nolint:errcheck // a channel that has ended needs none
	})
	if left < 2*lastWarning {
		return ends
	}
	return now.Add(left / 2)
}

// lastWarning is the least time for which it is worth while to be warned again.
const lastWarning = 5 * time.Second
