package hooks

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
)

// Presence puts a client into the presence list of its topic, or changes its meta there. [TrackWith] makes one.
type Presence interface {
	Track(c *channels.Context, key string, meta json.RawMessage) error
}

// protection is a decider for the sockets at one path.
type protection struct {
	*Decider
	presence Presence // may be nil
	// showsToken reports whether requests include the token that a client sends as phoenix.js's authToken.
	showsToken bool
}

// Protect returns a copy of o whose sockets the back ends decide about. They are asked after o.Connect has accepted the
// client, and so learn what it has found out about it. p tracks the clients that answers name; it may be nil.
func (d *Decider) Protect(o channels.SocketOptions, p Presence) channels.SocketOptions {
	if !d.Decides(Connect) && !d.Decides(Join) && !d.Decides(Event) {
		return o
	}
	w := &protection{Decider: d, presence: p}
	next, opened, closed := o.Connect, o.Opened, o.Closed
	asks := d.Decides(Connect)
	w.showsToken = asks && !o.AuthToken // otherwise next verifies it
	o.AuthToken = o.AuthToken || asks
	o.ConnectOnLoop = (o.ConnectOnLoop || next == nil) && !asks
	o.ReuseRequest = o.ReuseRequest || next == nil
	o.Connect = func(ctx context.Context, s *channels.Socket, r *channels.Request) error {
		if next != nil {
			if err := next(ctx, s, r); err != nil {
				return err
			}
		}
		return w.connect(ctx, s, r)
	}
	if asks {
		o.Opened = func(s *channels.Socket) {
			if e := sessionOf(s).expiry; e != nil {
				e.start(s)
			}
			if opened != nil {
				opened(s)
			}
		}
		o.Closed = func(s *channels.Socket) {
			if e := sessionOf(s).expiry; e != nil {
				e.stop()
			}
			if closed != nil {
				closed(s)
			}
		}
	}
	if d.Decides(Join) || d.Decides(Event) {
		o.Outer = &channels.Outer{Topics: d.wraps, Use: w.middleware}
	}
	return o
}

// retryAfter is when a client may try again that was refused because the back end did not decide.
const retryAfter = 5 * time.Second

// connect decides whether a client may connect.
func (w *protection) connect(ctx context.Context, s *channels.Socket, r *channels.Request) error {
	known := w.newSession(r)
	defer sessionKey.Set(s, known)
	t := w.target(Connect, "", "")
	if t == nil {
		return nil
	}
	if token, ok := r.AuthToken(); ok && w.showsToken {
		known.authToken = strings.Clone(token)
	}
	asked := time.Now()
	q := w.begin(Connect)
	q.str("auth_token", known.authToken)
	q.about(w.Decider, t, s, known, nil)
	a, err := t.ask(ctx, w.Decider, Connect, q.id, q.text)
	switch {
	case err != nil:
		return &channels.RefusedError{Status: http.StatusServiceUnavailable, Body: reason(unavailable(err)), RetryAfter: retryAfter}
	case !a.allows():
		refused := &channels.RefusedError{Status: http.StatusForbidden}
		if hasReply(a.Reply) {
			refused.Body = string(a.Reply)
		}
		return refused
	}
	if a.SocketID != "" {
		s.SetID(a.SocketID)
	}
	known.assigns = a.Assigns
	assigns := values(a.Assigns)
	for name, value := range assigns {
		s.Assign(name, value)
	}
	if user := userOf(assigns); user != "" && s.Guard() == nil {
		s.SetGuard(&guard{user, asked, w.Decider, s})
	}
	if a.ExpiresIn > 0 {
		known.expiry = w.newExpiry(known, time.Duration(a.ExpiresIn*float64(time.Second)))
	}
	return nil
}

// reason returns the text of an error reply as JSON.
func reason(e *channels.ReplyError) string {
	text, _ := json.Marshal(e.Response) //nolint:errchkjson // a map of strings
	return string(text)
}

// userOf returns the user that a back end has assigned, or "".
func userOf(assigns map[string]any) string {
	switch user := assigns["user"].(type) {
	case string:
		return user
	case json.Number:
		return user.String()
	}
	return ""
}

// guard is the guard of a socket whose user is named by a back end, not by a token. It permits everything, because the
// middleware asks the back end.
type guard struct {
	// Static.
	user    string
	asked   time.Time // when the back end was asked about the connection
	decider *Decider
	socket  *channels.Socket
}

var _ channels.ClientGuard = (*guard)(nil)

// Client implements channels.ClientGuard.
func (g *guard) Client() string { return g.user }

// Opened implements channels.Guard. If the user was revoked while the back end decided, the revocation may not have
// closed this socket.
func (g *guard) Opened() {
	if g.revoked() {
		g.socket.Close(closeRevoked, "user revoked")
	}
}

func (g *guard) revoked() bool {
	revoked := g.decider.options.Revoked
	return revoked != nil && revoked(g.user, g.asked)
}

// Closed implements channels.Guard.
func (*guard) Closed() {}

// Join implements channels.Guard.
func (*guard) Join(string) error { return nil }

// Event implements channels.Guard.
func (*guard) Event(string, []byte) (channels.EventFunc, error) { return nil, nil }

// closeRevoked is the close code of a socket whose user was revoked, as for a revoked token (auth.CloseRevoked).
const closeRevoked = 1008

// Revoked reports whether the user that a back end named for a socket has been revoked since, according to
// [Options].Revoked.
func Revoked(s *channels.Socket) bool {
	g, ok := s.Guard().(*guard)
	return ok && g.revoked()
}
