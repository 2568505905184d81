package webhook

import (
	"bytes"
	"context"
	cryptorand "crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/mycelium-rt/mycelium/internal/logging"
	"github.com/mycelium-rt/mycelium/internal/netguard"
)

// Options configure a [Caller]. All but Header and Log must be set.
type Options struct {
	URL    string
	Secret Secret
	// Timeout bounds a whole call: waiting for its turn, connecting, and all attempts.
	Timeout time.Duration
	// Concurrency bounds the requests in flight. Eight times as many calls may wait for their turn.
	Concurrency int
	// PublicOnly refuses back ends that are not on the public internet.
	PublicOnly bool
	// Header has additional fields, such as Authorization.
	Header http.Header
	Log    *logging.Log // for state changes of the breaker; may be nil
}

const (
	// MaxAnswer bounds an answer, in bytes.
	MaxAnswer = 1 << 20
	// waitingFactor times Options.Concurrency calls may wait.
	waitingFactor = 8
	// smallBody bounds how much of an unwanted body is read, in bytes.
	smallBody = 4 << 10
	// idleTimeout is how long an unused connection is kept: less than the 5 s of Node.js, uvicorn and
	// Apache, so that no request meets a connection that the back end is closing.
	idleTimeout = 4 * time.Second
	// maxTries and firstRetry are for calls that may be repeated. The pause doubles with each attempt.
	maxTries   = 3
	firstRetry = 100 * time.Millisecond
)

// Errors of Call. They do not contain the address.
var (
	// ErrBusy means that too many calls are waiting.
	ErrBusy = errors.New("webhook: too many requests wait for the back end")
	// ErrAway means that the back end has failed several times, so that no requests are sent for a while.
	ErrAway = errors.New("webhook: the back end is considered away after several failures")
	// ErrTooLarge means that the answer has more than MaxAnswer bytes.
	ErrTooLarge = fmt.Errorf("webhook: the answer has more than %d bytes", MaxAnswer)
)

// StatusError is a back end's answer with a status other than 2xx.
type StatusError struct {
	Status     int
	RetryAfter time.Duration // of the answer; 0 if it has none
	Body       []byte        // its beginning; it may hold secrets, so do not log it
}

func (e *StatusError) Error() string {
	if e.Status >= 300 && e.Status < 400 {
		return fmt.Sprintf("webhook: the back end answered with status %d: redirects are not followed, use the final address", e.Status)
	}
	return fmt.Sprintf("webhook: the back end answered with status %d", e.Status)
}

// isFailure reports whether the back end failed, as opposed to refusing the request.
func (e *StatusError) isFailure() bool {
	return e.Status >= 500 || e.Status == http.StatusTooManyRequests || e.Status == http.StatusRequestTimeout
}

// Message is one request.
type Message struct {
	// ID is sent as Webhook-Id, the same in all attempts. If it is empty, the message gets a new one.
	ID   string
	Body []byte // JSON; it must not change during the call
	// Repeat permits sending the message again even if the back end may have handled it already.
	// Otherwise it is sent again only if no connection was made.
	Repeat bool
	// Accept, if not nil, gets the body of an answer, which it owns. An error counts as a failure of
	// the back end. It may be called once for each attempt.
	Accept func(answer []byte) error
}

// NewID returns an id for a message.
func NewID() string { return "msg_" + cryptorand.Text() }

// Caller sends messages to one back end. Its methods are safe for concurrent use.
type Caller struct {
	options Options
	url     *url.URL
	header  http.Header
	client  transport
	slots   chan struct{} // holds one element for each request in flight
	breaker breaker
	now     func() time.Time

	waiting atomic.Int64
	counts  counts
}

// transport is a netguard.Transport.
type transport interface {
	http.RoundTripper
	CloseIdleConnections()
}

// New returns a caller. Close ends it.
func New(o Options) (*Caller, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, errors.New("webhook: the address must be like https://example.com/mycelium")
	}
	header := o.Header.Clone()
	if header == nil {
		header = make(http.Header)
	}
	header.Set("Content-Type", "application/json")
	header.Set("User-Agent", "mycelium")
	if u.User != nil {
		password, _ := u.User.Password()
		r := http.Request{Header: header}
		r.SetBasicAuth(u.User.Username(), password)
		u.User = nil
	}
	return &Caller{
		options: o, url: u, header: header, slots: make(chan struct{}, o.Concurrency), now: time.Now,
		client: netguard.NewTransport(netguard.Options{
			PublicOnly: o.PublicOnly, DialTimeout: o.Timeout, IdleConns: o.Concurrency, IdleTimeout: idleTimeout,
		}),
	}, nil
}

// Close closes the connections that are not in use.
func (c *Caller) Close() { c.client.CloseIdleConnections() }

// Call sends a message. It returns nil if the back end has answered with a status of 2xx and
// m.Accept has returned nil. It returns soon after ctx is done, and within Options.Timeout.
func (c *Caller) Call(ctx context.Context, m Message) error {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	ok, probe := c.breaker.allow(c.now())
	if !ok {
		c.counts.away.Add(1)
		return ErrAway
	}
	if err := c.enter(ctx); err != nil {
		c.breaker.forget(probe)
		return err
	}
	defer c.leave()
	if !probe && c.breaker.isOpen() { // it has opened while the call waited
		c.counts.away.Add(1)
		return ErrAway
	}
	err := c.try(ctx, &m)
	c.note(ctx, probe, err)
	return err
}

// enter waits until a request may be sent.
func (c *Caller) enter(ctx context.Context) error {
	select {
	case c.slots <- struct{}{}:
		return nil
	default:
	}
	defer c.waiting.Add(-1)
	if c.waiting.Add(1) > int64(waitingFactor*c.options.Concurrency) {
		c.counts.busy.Add(1)
		return ErrBusy
	}
	select {
	case c.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.Canceled) { // the caller no longer waits
			return ctx.Err()
		}
		c.counts.busy.Add(1)
		return ErrBusy
	}
}

func (c *Caller) leave() { <-c.slots }

// note counts the outcome of a call.
func (c *Caller) note(ctx context.Context, probe bool, err error) {
	var status *StatusError
	failed := err != nil && (!errors.As(err, &status) || status.isFailure())
	if failed && errors.Is(ctx.Err(), context.Canceled) { // the caller no longer waits
		c.breaker.forget(probe)
		return
	}
	if failed {
		c.counts.failed.Add(1)
	}
	if !c.breaker.report(c.now(), probe, !failed) || c.options.Log == nil {
		return
	}
	if failed {
		c.options.Log.Warn("back end considered away; requests to it are paused").Err(err).Str("url", c.Shown()).Write()
	} else {
		c.options.Log.Info("back end answers again").Str("url", c.Shown()).Write()
	}
}

// Shown returns the address without its query and password, which may be secrets.
func (c *Caller) Shown() string { return c.url.Scheme + "://" + c.url.Host + c.url.Path }

// try sends a message, again after failures if that is safe.
func (c *Caller) try(ctx context.Context, m *Message) error {
	if m.ID == "" {
		m.ID = NewID()
	}
	for n, pause := 1, firstRetry; ; n, pause = n+1, 2*pause {
		err := c.send(ctx, m)
		if err == nil || n == maxTries || !m.mayRepeat(err) || !sleep(ctx, pause/2+rand.N(pause)) {
			return err
		}
		c.counts.retries.Add(1)
	}
}

// mayRepeat reports whether the message may be sent again after err.
func (m *Message) mayRepeat(err error) bool {
	if netguard.NotSent(err) {
		return true
	}
	var status *StatusError
	if errors.As(err, &status) && !status.isFailure() {
		return false
	}
	return m.Repeat
}

// sleep waits for d. It returns false if ctx is done, or would be, before that.
func sleep(ctx context.Context, d time.Duration) bool {
	if end, ok := ctx.Deadline(); ok && time.Until(end) < d {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// send sends a message once.
func (c *Caller) send(ctx context.Context, m *Message) error {
	c.counts.sent.Add(1)
	r := &http.Request{
		Method: http.MethodPost, URL: c.url, Host: c.url.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: c.signedHeader(m), ContentLength: int64(len(m.Body)), Body: io.NopCloser(bytes.NewReader(m.Body)),
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(m.Body)), nil },
	}
	answer, err := c.client.RoundTrip(r.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		body, _ := io.ReadAll(io.LimitReader(answer.Body, smallBody)) // all of it, if it is small: the connection can be used again
		return &StatusError{Status: answer.StatusCode, RetryAfter: retryAfter(answer.Header.Get("Retry-After")), Body: body}
	}
	if m.Accept == nil {
		io.CopyN(io.Discard, answer.Body, smallBody) //nolint:errcheck // as above
		return nil
	}
	text, err := readAnswer(answer)
	if err != nil {
		return err
	}
	return m.Accept(text)
}

func (c *Caller) signedHeader(m *Message) http.Header {
	h := make(http.Header, len(c.header)+4)
	for name, values := range c.header {
		h[name] = values
	}
	c.options.Secret.Sign(h, m.ID, c.now(), m.Body)
	return h
}

// readAnswer reads the body of an answer into a buffer that grows as needed, because the Content-Length may be wrong.
func readAnswer(answer *http.Response) ([]byte, error) {
	size := answer.ContentLength
	if size > MaxAnswer {
		return nil, ErrTooLarge
	}
	buf := bytes.NewBuffer(make([]byte, 0, min(max(size, 512), 8<<10)+bytes.MinRead))
	n, err := buf.ReadFrom(io.LimitReader(answer.Body, MaxAnswer+1))
	switch {
	case n > MaxAnswer:
		return nil, ErrTooLarge
	case err != nil:
		return nil, fmt.Errorf("webhook: reading the answer: %w", err)
	}
	return buf.Bytes(), nil
}

// retryAfter parses a Retry-After field. It returns 0 for a date, which back ends hardly use.
func retryAfter(text string) time.Duration {
	seconds, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
