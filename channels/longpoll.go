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
	"github.com/mycelium-rt/mycelium/internal/forward"
	"github.com/mycelium-rt/mycelium/internal/front"
	"github.com/mycelium-rt/mycelium/internal/longpoll"
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/websocket"
	"github.com/mycelium-rt/mycelium/wire"
)

// LongPollOptions configure long polling, which phoenix.js falls back to behind
// proxies that block WebSockets. It is off by default, as in Phoenix.
type LongPollOptions struct {
	// Enabled serves the socket at its path + "/longpoll" too. A client that
	// Connect refuses gets the status 403 there, even for a RefusedError: clients
	// know no other status.
	Enabled bool
	// Path is what follows the socket's path. Default "/longpoll".
	Path string
	// Window is how long a poll waits for messages. A session that is not polled
	// for one and a half times as long ends. Default 10 s. Proxies and clients
	// must wait longer than this for an answer: phoenix.js waits for its
	// longpollerTimeout, 20 s.
	Window time.Duration
	// Grace is how long a session lives after its client closed the connection
	// of a poll before it has the answer, as a browser does when the page is closed. It
	// must be long enough for a client that polls again at once. It has no effect
	// on a session whose last poll was answered, nor beyond the time that Window
	// gives a session. Default 3 s. If thousands of sessions of a loop have no
	// waiting poll, a new session ends the one that has not been polled for longest.
	Grace time.Duration
	// TokenMaxAge is how long the token of a session is valid. A poll renews it
	// when half of that is over. Default two weeks.
	TokenMaxAge time.Duration
}

const transportLongpoll = "longpoll"

const (
	// maxPostBytes is the largest body of a POST, unless Limits.MaxMessage is
	// smaller. It is the default of Plug's read_body.
	maxPostBytes = 8_000_000
	// postTimeout is how long a client has to send the body of a POST. Nothing
	// else bounds a client that sends a few bytes at a time.
	postTimeout = 60 * time.Second
	// answerTimeout is how long a client has to read an answer of up to
	// Limits.OutboundBytes. After that its messages wait for the next poll.
	answerTimeout = 60 * time.Second
	// answerHead is room for an answer without its token and messages, in bytes.
	answerHead = 64
	// dispatchBatch is how many messages of a POST the loop handles before it
	// turns to its other sockets. phoenix.js sends no more in a POST.
	dispatchBatch = 100
)

// pollRequest is one HTTP request of long polling, on net/http's goroutine.
type pollRequest struct {
	endpoint *Endpoint
	mount    *mount
	w        http.ResponseWriter
	r        *http.Request
	request  *Request         // r in the form for Connect and CheckOrigin
	ctx      context.Context  // ends when the client has gone
	receipt  *forward.Receipt // of the node that relays a poll; nil: there is none
}

// serveLongPoll answers as Phoenix does (lib/phoenix/transports/long_poll.ex).
// Clients read the status in the body, so HTTP's is mostly 200.
func (m *mount) serveLongPoll(w http.ResponseWriter, r *http.Request) {
	longpoll.SetOpen(w.Header())
	if websocket.CheckQuery(r.URL.RawQuery) != nil {
		admission.BadRequest.Write(w)
		return
	}
	p := &pollRequest{endpoint: m.endpoint, mount: m, w: w, r: r, request: m.endpoint.connectRequestOf(r), ctx: r.Context()}
	if r.Method == http.MethodGet && front.Forwarded(r) {
		p.ctx, p.receipt = forward.ExpectReceipt(w, r)
		defer p.receipt.Release()
	}
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

// connectRequestOf converts a request of net/http for Connect.
func (e *Endpoint) connectRequestOf(r *http.Request) *Request {
	return &Request{
		Params:     ParseParams(r.URL.RawQuery),
		URL:        &url.URL{Scheme: scheme(r.TLS != nil), Host: r.Host, Path: front.Path(r), RawQuery: r.URL.RawQuery},
		Header:     r.Header,
		RemoteAddr: e.gate.Client(front.Peer(r), r.Header["X-Forwarded-For"]),
		Transport:  transportLongpoll,

		Certificate: (*ClientCertificate)(front.CertificateOf(r)),
	}
}

// session returns the session whose token the request has, nil if there is none, or
// the node that has it. A token in the header takes precedence over one in the query,
// even if it is invalid.
func (p *pollRequest) session() (*pollSession, longpoll.Token, *forward.Elsewhere) {
	token := p.request.Params.Get("token")
	if values := p.r.Header.Values(longpoll.TokenHeader); len(values) > 0 {
		token = values[0]
	}
	if token == "" {
		return nil, longpoll.Token{}, nil
	}
	known := p.endpoint.sessions
	t, err := known.issuer.signer.Verify(token, time.Now(), p.mount.options.LongPoll.TokenMaxAge)
	switch {
	case err != nil:
		return nil, t, nil
	case t.Node != known.issuer.node:
		return nil, t, p.nodeOf(t)
	}
	s := known.find(t.Session)
	if s == nil || s.socket.mount != p.mount {
		return nil, t, nil
	}
	return s, t, nil
}

// nodeOf returns the other node that has a session, nil if nothing is heard from it. The
// session then counts as gone, and its client opens another.
func (p *pollRequest) nodeOf(t longpoll.Token) *forward.Elsewhere {
	n := p.endpoint.sessions.issuer.forward
	if n == nil || front.Forwarded(p.r) {
		return nil
	}
	return n.Find(t.Node)
}

// get polls a session, or opens one. The first answer of a session also has the
// status 410, which makes the client use the token in it.
func (p *pollRequest) get() {
	s, t, other := p.session()
	switch {
	case other != nil:
		p.endpoint.front.RelayPoll(p.w, p.r, other, func(err error) {
			p.logUnreached(other, err)
			p.open()
		})
		return
	case s == nil:
		p.open()
		return
	}
	end := front.Exempt(p.r)
	a := s.poll(p.ctx)
	end()
	switch a.status {
	case http.StatusGone:
		p.answerStatus(http.StatusOK, http.StatusGone)
	case http.StatusNoContent:
		p.answerPoll(http.StatusNoContent, p.renewed(t), nil) //nolint:errcheck // no message is lost
		p.watchAnswer(s, a)
	default:
		written := false
		defer func() {
			s.settleAnswer(a, written) // frames that were not written come in the next answer
			if written {
				p.watchAnswer(s, a)
			}
		}()
		if p.ctx.Err() == nil {
			written = p.answerPoll(http.StatusOK, p.renewed(t), a.frames) == nil
		}
	}
}

// watchAnswer has the session notice that its client does not take an answer.
func (p *pollRequest) watchAnswer(s *pollSession, a pollAnswer) {
	if p.receipt == nil { // else the connection is that of the node in between
		front.OnLostAnswer(p.r, func() { s.answerLost(a) })
	}
}

func (p *pollRequest) logUnreached(to *forward.Elsewhere, err error) {
	p.endpoint.log.Warn("the node of a long-poll session does not answer").Err(err).Str("node", to.Name()).Write()
}

// renewed returns the token to answer with. Phoenix never renews a token, so even a
// session that is polled all the time ends.
func (p *pollRequest) renewed(t longpoll.Token) string {
	now := time.Now()
	if now.Sub(t.Issued) > p.mount.options.LongPoll.TokenMaxAge/2 {
		t.Issued = now
	}
	return p.endpoint.sessions.issuer.signer.Sign(t)
}

// open starts a session.
func (p *pollRequest) open() {
	e := p.endpoint
	if ref := e.gate.Busy(time.Now(), admission.Caller{Delay: e.loops.Delay(), Query: p.r.URL.RawQuery}); ref != nil {
		ref.Write(p.w) // without a body, which makes phoenix.js try again later
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
		admission.Unavailable(time.Second).Write(p.w)
		return
	}
	s.ticket = ticket
	if !s.start() {
		admission.Unavailable(2 * time.Second).Write(p.w)
		return
	}
	token := e.sessions.issuer.signer.Sign(longpoll.Token{Node: e.sessions.issuer.node, Session: s.id, Issued: time.Now()})
	p.answerPoll(http.StatusGone, token, nil) //nolint:errcheck // a session that is not polled ends by itself
}

// refuse answers a client that is not admitted. Clients of long polling know
// only one status for that. If the application panicked, the HTTP status says
// so too.
func (p *pollRequest) refuse(ref *admission.Refusal) {
	if ref == admission.Crashed {
		p.answerStatus(ref.Status, ref.Status)
		return
	}
	p.answerStatus(http.StatusOK, http.StatusForbidden)
}

// post gives a session the messages of a request, or none of them if one is
// malformed. In Phoenix a malformed message ends the session and its channels.
func (p *pollRequest) post() {
	s, _, other := p.session()
	switch {
	case other != nil:
		other.Relay(p.w, p.r, front.ClaimOf(p.r), func(err error) {
			p.logUnreached(other, err)
			p.answerStatus(http.StatusOK, http.StatusGone)
		})
		return
	case s == nil:
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

// messages reads and decodes the body. All of it is decoded before the first message
// is handled, and not on the loop.
func (p *pollRequest) messages(s wire.Serializer) ([]wire.Message, error) {
	limit := min(maxPostBytes, max(p.mount.limits.MaxMessage, p.mount.options.frames.MaxFrame))
	control := http.NewResponseController(p.w)
	control.SetReadDeadline(time.Now().Add(postTimeout)) //nolint:errcheck // not every server has deadlines
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

// answerStatus answers with only a status.
func (p *pollRequest) answerStatus(http, status int) {
	p.write(http, longpoll.AppendStatus(nil, status)) //nolint:errcheck // no message is lost
}

func (p *pollRequest) answerPoll(status int, token string, messages []*netloop.Frame) error {
	size := answerHead + len(token) + len(messages)
	for _, f := range messages {
		size += f.Size()
	}
	return p.write(http.StatusOK, longpoll.AppendPoll(make([]byte, 0, size), status, token, messages))
}

// errNotTaken means that the node that relays a poll has not given the answer to the
// client.
var errNotTaken = errors.New("channels: the answer to a relayed poll did not reach its client")

// write writes all answers with a JSON body. It returns an error unless the whole answer
// was given to the connection: if a node relays it, to the client's own connection.
func (p *pollRequest) write(status int, body []byte) error {
	longpoll.SetJSON(p.w.Header())
	p.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	control := http.NewResponseController(p.w)
	control.SetWriteDeadline(time.Now().Add(answerTimeout)) //nolint:errcheck // not every server has deadlines
	defer control.SetWriteDeadline(time.Time{})             //nolint:errcheck // as above
	if p.receipt != nil {
		p.receipt.SetSize(len(body))
	}
	p.w.WriteHeader(status)
	if _, err := p.w.Write(body); err != nil {
		return err
	}
	if err := control.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if p.receipt != nil && !p.receipt.Taken() {
		return errNotTaken
	}
	return nil
}
