package forward

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"time"
)

// receiptTimeout is how long a relaying node may take to confirm an answer: longer than
// its client has to read it.
const receiptTimeout = writeTimeout + 15*time.Second

// Receipt is the confirmation from a node that relays a poll: see [Elsewhere.RelayPoll].
// It is nil for a poll that no node relays.
type Receipt struct {
	w     http.ResponseWriter
	gone  context.CancelFunc
	done  chan struct{}
	taken bool // valid when done is closed
}

// ExpectReceipt returns the Receipt of a poll that another node relays, nil if the
// request does not announce one. The context ends when that node or its client has
// gone. The request's body must not be read. The caller must call Release.
func ExpectReceipt(w http.ResponseWriter, r *http.Request) (context.Context, *Receipt) {
	if r.Header.Get(receiptField) == "" {
		return r.Context(), nil
	}
	control := http.NewResponseController(w)
	if control.EnableFullDuplex() != nil {
		return r.Context(), nil // not a server of ours
	}
	control.SetReadDeadline(time.Time{}) //nolint:errcheck // the byte comes after the answer
	ctx, cancel := context.WithCancel(r.Context())
	c := &Receipt{w: w, gone: cancel, done: make(chan struct{})}
	go c.await(r.Body)
	return ctx, c
}

func (c *Receipt) await(body io.Reader) {
	defer close(c.done)
	var b [1]byte
	_, err := io.ReadFull(body, b[:])
	if c.taken = err == nil && b[0] == taken; !c.taken {
		c.gone()
	}
}

// SetSize announces the size of the answer, before its head is written. Without it
// the answer is not confirmed.
func (c *Receipt) SetSize(n int) {
	c.w.Header().Set(receiptField, strconv.Itoa(n))
	delete(c.w.Header(), "Content-Length")
}

// Taken waits for the confirmation, and reports whether the client was given the answer.
func (c *Receipt) Taken() bool {
	t := time.NewTimer(receiptTimeout)
	defer t.Stop()
	select {
	case <-c.done:
		return c.taken
	case <-t.C:
		return false
	}
}

// Release ends the wait for a confirmation. The request's handler must return next.
func (c *Receipt) Release() {
	if c == nil {
		return
	}
	select {
	case <-c.done:
	default: // nothing was to be confirmed, or there was no confirmation in time
		http.NewResponseController(c.w).SetReadDeadline(time.Unix(1, 0)) //nolint:errcheck // the read then fails
		<-c.done
	}
	c.gone()
}
