// Package relay is the type of the server's default instance: whatever a client
// pushes on a topic that it has joined goes to everybody on that topic, and
// everybody sees who is there. It needs no code of the application's own.
package relay

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/topics"
	"github.com/mycelium-rt/mycelium/presence"
)

// Options configure a [Relay].
type Options struct {
	// Topics are the patterns that are served, exact or with a * at the end.
	Topics []string
	// Window is how long presence diffs are gathered; 0 sends each at once.
	Window time.Duration
	// PresenceOff are the patterns of topics where nobody is tracked.
	PresenceOff []string
	// DiffsOff are the patterns of topics that get no presence diffs.
	DiffsOff []string
	// Publish are the rules of who may publish: the first that matches decides.
	// Without a matching rule everybody may.
	Publish []Rule
}

// Relay serves topics of an endpoint, for programs without instances.
type Relay struct {
	presence *presence.Tracker
	options  atomic.Pointer[Options]
}

// service is the relay for the sockets that connect under one configuration.
type service struct {
	*Relay
	options *Options
}

// maxUser bounds a presence key in bytes: everybody on the topic is sent each key.
const maxUser = 255

// maxMeta bounds what is shown with a key: every presence_state contains it.
const maxMeta = 4096

// accessTokenEvent is what a client pushes with a token of its own
// (auth.AccessTokenEvent, which a guard answers before it comes here).
const accessTokenEvent = "access_token"

// errUnmatched is what Phoenix answers where no channel serves a topic.
var errUnmatched = channels.Errorf("unmatched topic")

// errUnauthorized is the answer that a guard also gives.
var errUnauthorized = channels.Errorf("unauthorized")

// New returns a relay on e. Close ends it.
func New(e *channels.Endpoint, o Options) *Relay {
	r := new(Relay)
	r.options.Store(&o)
	r.presence = presence.New(e, r.tracking(o))
	return r
}

// setOptions changes all but Window: DiffsOff for topics in which nobody is
// present, the others for the Channels that are made from now on.
func (r *Relay) setOptions(o Options) { r.options.Store(&o) }

// Close ends the relay's presence.
func (r *Relay) Close() { r.presence.Close() }

// Tracked is set by middleware that puts a client into the presence list of the
// topic that it joins, so that the relay does not.
var Tracked = channels.NewKey[bool]("tracked")

// Connect serves as channels.SocketOptions.Connect. It stores the user that a
// client names in its connect params; the user that a guard knows overrides it.
func (r *Relay) Connect(_ context.Context, s *channels.Socket, req *channels.Request) error {
	if user := req.Params.Get("user"); s.Guard() == nil && user != "" && len(user) <= maxUser {
		s.Assign("user", user)
	}
	return nil
}

// Channels returns a channel for each pattern, to be given to
// channels.Endpoint.Socket. They run on the event loops.
func (r *Relay) Channels() []*channels.Channel {
	s := service{r, r.options.Load()}
	var served []*channels.Channel
	for i, pattern := range s.options.Topics {
		if slices.Contains(s.options.Topics[:i], pattern) {
			continue // a pattern that is listed twice is served once
		}
		ch := channels.Handle(pattern, s.join).OnLoop()
		ch.OnAny(s.relay)
		channels.Info(ch, s.joined)
		served = append(served, ch)
	}
	return served
}

// joinParams are a join's payload; clients may send more.
type joinParams struct {
	Self *bool           `json:"self"` // false: the client does not get what it sends itself
	User string          `json:"user"` // the presence key
	Meta json.RawMessage `json:"meta"` // a JSON object, shown with the presence
}

// join admits every client to a topic that is not the protocol's own.
func (s service) join(c *channels.Context, p joinParams) (channels.NoReply, error) {
	none := channels.NoReply{}
	if strings.HasPrefix(c.Topic(), topics.ReservedPrefix) {
		return none, errUnmatched
	}
	if len(p.User) > maxUser {
		return none, channels.Errorf("user is longer than %d bytes", maxUser)
	}
	if len(p.Meta) > maxMeta {
		return none, channels.Errorf("meta is longer than %d bytes", maxMeta)
	}
	if p.Self != nil && !*p.Self {
		c.Assign("self", false)
	}
	if Tracked.Get(c) {
		return none, c.Send(afterJoin{tracked: true})
	}
	if topics.MatchAny(s.options.PresenceOff, c.Topic()) {
		return none, nil
	}
	after, err := s.listing(c, p)
	if err != nil {
		return none, err
	}
	return none, c.Send(after)
}

// afterJoin is delivered once the client is subscribed: who sees it in the presence list reaches it, and it misses no
// change to the list that it is sent.
type afterJoin struct {
	key     string
	meta    json.RawMessage
	tracked bool // by middleware
}

// listing returns what the client is to be listed with.
func (r *Relay) listing(c *channels.Context, p joinParams) (a afterJoin, err error) {
	a.key, a.meta = r.user(c, p), emptyMeta
	switch {
	case !utf8.ValidString(a.key):
		return a, channels.Errorf("user is not UTF-8")
	case presence.BreaksClients(a.key):
		return a, channels.Errorf("user is %q, which breaks the presence lists of JavaScript clients: choose another name", a.key)
	case len(p.Meta) == 0 || string(p.Meta) == "null":
		return a, nil
	case p.Meta[0] != '{':
		return a, channels.Errorf("meta is not a JSON object")
	}
	a.meta = p.Meta
	return a, nil
}

var emptyMeta = json.RawMessage("{}")

// joined puts the client into the presence list and sends it the list.
func (s service) joined(c *channels.Context, a afterJoin) error {
	if !a.tracked {
		if _, err := s.presence.Track(c, a.key, a.meta); err != nil {
			return fmt.Errorf("tracking: %w", err)
		}
	}
	return s.presence.PushState(c)
}

// user is the presence key: of the join, unless a guard knows better; else of
// the connection, else made up.
func (r *Relay) user(c *channels.Context, p joinParams) string {
	if p.User != "" && c.Socket().Guard() == nil {
		return p.User
	}
	switch user := c.Socket().Get("user").(type) {
	case string:
		return user
	case fmt.Stringer: // a number of a token
		return user.String()
	}
	return "guest-" + strings.ToLower(rand.Text()[:8])
}

// relay sends an event on to the topic and answers it.
func (s service) relay(c *channels.Context, event string, p channels.Payload) (channels.Reply, error) {
	if strings.EqualFold(event, accessTokenEvent) {
		// A client's own token, which realtime-js pushes in setAuth whether the
		// server wants one or not. It is for nobody else on the topic.
		return channels.Reply{Status: "ok"}, nil
	}
	if !s.options.mayPublish(c, event) {
		return channels.Reply{}, errUnauthorized
	}
	if channels.ReservedEvent(event) != "" {
		return channels.Reply{}, channels.Errorf("event %s is the server's own: choose a name that does not begin with phx_, presence_, chan_reply_, token_expiring, history_mark or history_state", event)
	}
	var err error
	if c.Get("self") == false {
		err = c.RelayFrom(event, p)
	} else {
		err = c.Relay(event, p)
	}
	if errors.Is(err, channels.ErrNotObject) {
		return channels.Reply{}, channels.Errorf("the payload is not a JSON object")
	}
	return channels.Reply{Status: "ok"}, err
}
