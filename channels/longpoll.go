package channels

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/front"
	"github.com/mycelium-rt/mycelium/internal/longpoll"
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/websocket"
	"github.com/mycelium-rt/mycelium/wire"
)

// LongPollOptions configure long polling, which phoenix.js falls back to where
// a proxy lets no WebSocket through. It is off unless asked for, as in Phoenix.
type LongPollOptions struct {
	// Enabled serves the socket at its path + "/longpoll" too. Whoever Connect
	// refuses gets the status 403 there, also for a RefusedError: clients know
	// no other.
	Enabled bool
	// Path is what follows the socket's path. Default "/longpoll".
	Path string
	// Window is how long a poll waits for messages. A session that is not
	// polled for one and a half of it is over. Default 10 s. A proxy must wait
	// longer than this for an answer, and so must clients: phoenix.js waits for
	// its longpollerTimeout, which is 20 s.
	Window time.Duration
	// Grace is how long a session lives after its client closed the connection
	// of a poll without taking the answer, as a browser does when the page is
	// closed: long enough for a client that polls again at once. A session whose
	// last poll was answered has the time that Window gives it, and Grace never
	// exceeds that. Default 3 s. Where thousands of sessions on a loop have no poll
	// that waits, a new one ends the one that was not polled for longest.
	Grace time.Duration
	// TokenMaxAge is how long the token of a session counts. It is renewed by
	// polling, after half of it. Default two weeks.
	TokenMaxAge time.Duration
}

const transportLongpoll = "longpoll"

const (
	// maxPostBytes is the largest body of a POST, where Limits.MaxMessage is not
	// less: Plug's read_body takes no more by default.
	maxPostBytes = 8_000_000
	// postTimeout is how long a client has for the body of a POST: nothing else bounds one that drips.
	postTimeout = 60 * time.Second
	// answerTimeout is how long a client has to take an answer, up to
	// Limits.OutboundBytes. After it, the messages wait for the next poll.
	answerTimeout = 60 * time.Second
	// answerHead is room for what an answer has beside its token and messages, in bytes.
	answerHead = 64
	// dispatchBatch is how many messages of one POST the loop handles before
	// it looks at its other sockets. phoenix.js sends no more in one.
	dispatchBatch = 100
)

// pollRequest is one HTTP request of long polling, on net/http's goroutine.
type pollRequest struct {
	endpoint *Endpoint
	mount    *mount
	w        http.ResponseWriter
	r        *http.Request
	request  *Request // r as Connect and CheckOrigin see it
}

// serveLongPoll answers as Phoenix does (lib/phoenix/transports/long_poll.ex):
// clients look at the status in the body, which is why HTTP's is mostly 200.
func (e *Endpoint) serveLongPoll(w http.ResponseWriter, r *http.Request, m *mount) {
	longpoll.SetOpen(w.Header())
	if websocket.CheckQuery(r.URL.RawQuery) != nil {
		admission.BadRequest.Write(w)
		return
	}
	p := &pollRequest{endpoint: e, mount: m, w: w, r: r, request: e.connectRequestOf(r)}
	if ref := m.checkOrigin(p.request); ref != nil {
		p.refuse(ref)
		return
	}
	switch r.Method {
	case http.MethodGet:
		p.get()
	case http.MethodPost:
		p.post()
	case http.MethodOptions:
		longpoll.SetPreflight(w.Header(), r.Header.Values("Access-Control-Request-Headers"))
		w.WriteHeader(http.StatusOK)
	default:
		w.Header().Set("Allow", "GET, POST, OPTIONS")
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

// connectRequestOf makes what Connect is given of a request that net/http has read.
func (e *Endpoint) connectRequestOf(r *http.Request) *Request {
	return &Request{
		Params:     parseParams(r.URL.RawQuery),
		URL:        &url.URL{Scheme: scheme(r.TLS != nil), Host: r.Host, Path: front.Path(r), RawQuery: r.URL.RawQuery},
		Header:     r.Header,
		RemoteAddr: e.gate.Client(front.Peer(r), r.Header["X-Forwarded-For"]),
		Transport:  transportLongpoll,
	}
}

// session finds the session whose token the client shows; a token in the
// header wins over one in the query, even if it is bad.
func (p *pollRequest) session() (*pollSession, longpoll.Token) {
	token := p.request.Params.Get("token")
	if values := p.r.Header.Values(longpoll.TokenHeader); len(values) > 0 {
		token = values[0]
	}
	if token == "" {
		return nil, longpoll.Token{}
	}
	known := p.endpoint.sessions
	t, err := known.signer.Verify(token, time.Now(), p.mount.options.LongPoll.TokenMaxAge)
	if err != nil || t.Node != known.node {
		return nil, t
	}
	s := known.find(t.Session)
	if s == nil || s.socket.mount != p.mount {
		return nil, t
	}
	return s, t
}

// get polls a session, or opens one: the first answer of a session has status
// 410 too, which is what makes a client take the token.
func (p *pollRequest) get() {
	s, t := p.session()
	if s == nil {
		p.open()
		return
	}
	end := front.Exempt(p.r)
	a := s.poll(p.r.Context())
	end()
	switch a.status {
	case http.StatusGone:
		p.answerStatus(http.StatusOK, http.StatusGone)
	case http.StatusNoContent:
		p.answerPoll(http.StatusNoContent, p.renewed(t), nil) //nolint:errcheck // nothing is lost with it
	default:
		written := false
		defer func() { s.settle(a, written) }() // what is not written is not lost
		if p.r.Context().Err() == nil {
			written = p.answerPoll(http.StatusOK, p.renewed(t), a.frames) == nil
		}
	}
}

// renewed is the token to answer with. In Phoenix a token is never renewed,
// and a session that is polled all the time is lost with it.
func (p *pollRequest) renewed(t longpoll.Token) string {
	now := time.Now()
	if now.Sub(t.Issued) > p.mount.options.LongPoll.TokenMaxAge/2 {
		t.Issued = now
	}
	return p.endpoint.sessions.signer.Sign(t)
}

// open starts a session.
func (p *pollRequest) open() {
	e := p.endpoint
	if ref := e.gate.Busy(time.Now()); ref != nil {
		ref.Write(p.w) // no body: phoenix.js then comes back later
		return
	}
	if token := p.r.Header.Values(longpoll.AuthHeader); p.mount.options.AuthToken && len(token) > 0 {
		p.request.authToken = &token[0]
	}
	ctx, cancel := context.WithTimeout(p.r.Context(), e.limits.HandshakeTimeout)
	defer cancel()
	s := newPollSession(e, p.mount)
	if ref := s.socket.connect(ctx, p.request); ref != nil {
		p.refuse(ref)
		return
	}
	ticket, err := e.gate.EnterSession(p.request.RemoteAddr.Addr())
	if err != nil {
		e.log.Warn("long-poll session refused").Err(err).Write()
		admission.Unavailable("1").Write(p.w)
		return
	}
	s.ticket = ticket
	if !s.start() {
		admission.Unavailable("2").Write(p.w)
		return
	}
	token := e.sessions.signer.Sign(longpoll.Token{Node: e.sessions.node, Session: s.id, Issued: time.Now()})
	p.answerPoll(http.StatusGone, token, nil) //nolint:errcheck // a session that nobody polls ends by itself
}

// refuse answers a client that is not let in. Clients of long polling know one
// status for it; a crash of the application's is told by HTTP's status too.
func (p *pollRequest) refuse(ref *admission.Refusal) {
	if ref == admission.Crashed {
		p.answerStatus(ref.Status, ref.Status)
		return
	}
	p.answerStatus(http.StatusOK, http.StatusForbidden)
}

// post hands messages to a session: all of them, or none if one is malformed.
// In Phoenix a malformed one ends the session, with all its channels.
func (p *pollRequest) post() {
	s, _ := p.session()
	if s == nil {
		p.answerStatus(http.StatusOK, http.StatusGone)
		return
	}
	messages, err := p.messages(s.socket.key.Encoding.Serializer())
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge), errors.Is(err, longpoll.ErrTooLarge):
		p.answerStatus(http.StatusRequestEntityTooLarge, http.StatusRequestEntityTooLarge)
		return
	case err != nil:
		p.endpoint.log.Debug("malformed message").Err(err).Write()
		p.answerStatus(http.StatusBadRequest, http.StatusBadRequest)
		return
	}
	if p.endpoint.tenant.WaitNotOverloaded(p.r.Context()) != nil {
		return // the client has gone, and nothing was handled
	}
	for batch := range slices.Chunk(messages, dispatchBatch) {
		if !s.dispatch(p.r.Context(), batch) {
			p.answerStatus(http.StatusOK, http.StatusGone)
			return
		}
	}
	p.answerStatus(http.StatusOK, http.StatusOK)
}

// messages reads and decodes the body: here, so that the loop does not have
// to, and before the first is handled, so that a bad one is noticed in time.
func (p *pollRequest) messages(s wire.Serializer) ([]wire.Message, error) {
	limit := min(maxPostBytes, max(p.mount.limits.MaxMessage, p.mount.options.frames.MaxFrame))
	control := http.NewResponseController(p.w)
	control.SetReadDeadline(time.Now().Add(postTimeout)) //nolint:errcheck // a server that has none
	body, err := io.ReadAll(http.MaxBytesReader(p.w, p.r.Body, int64(limit)))
	control.SetReadDeadline(time.Time{}) //nolint:errcheck // as above
	if err != nil {
		return nil, err
	}
	posted, err := longpoll.ParseBody(p.r.Header.Get("Content-Type"), body, p.mount.options.frames.MaxFrame)
	if err != nil {
		return nil, err
	}
	messages := make([]wire.Message, len(posted))
	n := 0
	for _, m := range posted {
		switch err := s.Decode(m.Data, m.Binary, &messages[n]); {
		case err == nil:
			n++
		case !errors.Is(err, wire.ErrIgnored):
			return nil, err
		}
	}
	return messages[:n], nil
}

// answerStatus answers with a status alone.
func (p *pollRequest) answerStatus(http, status int) {
	p.write(http, longpoll.AppendStatus(nil, status)) //nolint:errcheck // nothing is lost with it
}

func (p *pollRequest) answerPoll(status int, token string, messages []*netloop.Frame) error {
	size := answerHead + len(token) + len(messages)
	for _, f := range messages {
		size += f.Size()
	}
	return p.write(http.StatusOK, longpoll.AppendPoll(make([]byte, 0, size), status, token, messages))
}

// write is where all answers with a body are written. It returns an error
// unless the whole answer was given to the connection.
func (p *pollRequest) write(status int, body []byte) error {
	longpoll.SetJSON(p.w.Header())
	p.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	control := http.NewResponseController(p.w)
	control.SetWriteDeadline(time.Now().Add(answerTimeout)) //nolint:errcheck // a server that has none
	defer control.SetWriteDeadline(time.Time{})             //nolint:errcheck // as above
	p.w.WriteHeader(status)
	if _, err := p.w.Write(body); err != nil {
		return err
	}
	if err := control.Flush(); !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}
