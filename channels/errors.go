package channels

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mycelium-rt/mycelium/wire"
)

// Reasons for the end of a joined channel: the argument of [Channel.Terminate]
// and the cause of its [Context].
var (
	// ErrLeft means that the client left the topic.
	ErrLeft = errors.New("channels: the client left")
	// ErrClosed means that the socket has been closed.
	ErrClosed = errors.New("channels: the socket was closed")
	// ErrRejoined means that the client joined the topic again on the same
	// socket.
	ErrRejoined = errors.New("channels: the topic was joined again")
	// ErrStopped means that [Context.Stop] was called with nil.
	ErrStopped = errors.New("channels: the channel stopped")
	// ErrJoinTimeout means that the join callback took longer than
	// Limits.JoinTimeout.
	ErrJoinTimeout = errors.New("channels: the join took too long")
	// ErrRefused means that the join was refused. [Channel.Terminate] is not
	// called then; functions given to [Context.OnEnd] are.
	ErrRefused = errors.New("channels: the join was refused")
)

// Errors of sending. The channel goes on.
var (
	// ErrEnded is returned when the channel has ended. Nothing was sent.
	ErrEnded = errors.New("channels: the channel has ended")
	// ErrMailboxFull is returned when as many messages wait for the channel as
	// Limits.MailboxMessages or Limits.MailboxBytes permit. It is also the
	// reason of a channel that ended because its mailbox stayed full for
	// Limits.MailboxWait.
	ErrMailboxFull = errors.New("channels: the mailbox is full")
	// ErrTooManyTopics is returned when the channel has subscribed to as many
	// topics as Limits.TopicsPerChannel or Limits.SocketBytes permit.
	ErrTooManyTopics = errors.New("channels: too many topics subscribed to")
	// ErrNotObject is returned for a payload of a push or broadcast that is
	// neither a JSON object nor Binary; Phoenix's clients accept nothing else.
	ErrNotObject = wire.ErrNotObject
	// ErrNotText is returned for a Binary payload to a client of protocol
	// version 1. As the result of a handler it crashes the channel, as in
	// Phoenix.
	ErrNotText = wire.ErrNotText
)

// replyError returns the answer for the client in an error. A typed nil is
// neither an answer nor an error: see noError. A handler that returns the error
// of its broadcast refuses the event, and the channel goes on.
func replyError(err error) (*ReplyError, bool) {
	var reply *ReplyError
	ok := errors.As(err, &reply) && reply != nil
	switch {
	case ok:
	case errors.Is(err, ErrOverloaded):
		return Errorf("overloaded"), true
	case errors.Is(err, ErrNotStored):
		return Errorf("%s", reasonNotStored(err)), true
	}
	return reply, ok
}

// noError reports whether err is a nil *ReplyError. A function returns one if
// it declares a variable of type *ReplyError and returns that as an error.
func noError(err error) bool {
	reply, ok := err.(*ReplyError) //nolint:errorlint // one that is wrapped is an error
	return ok && reply == nil
}

// ReplyError is an error that the client gets, as the response of a reply with
// status "error". Returned by a join callback it refuses the join. A nil
// *ReplyError is not an error.
type ReplyError struct {
	// Response is encoded as the response of the reply: a struct, a map,
	// json.RawMessage, Binary. nil is {}.
	Response any
}

// Error returns the response as text.
func (e *ReplyError) Error() string {
	if e == nil {
		return "channels: no error"
	}
	switch response := e.Response.(type) {
	case map[string]string:
		if reason, ok := response["reason"]; ok && len(response) == 1 { // as Errorf makes it
			return "channels: error reply: " + reason
		}
	case json.RawMessage:
		return fmt.Sprintf("channels: error reply %s", response)
	}
	return fmt.Sprintf("channels: error reply %v", e.Response)
}

// Errorf returns the error reply {"reason": …} with a formatted reason.
func Errorf(format string, args ...any) *ReplyError {
	return &ReplyError{Response: map[string]string{"reason": fmt.Sprintf(format, args...)}}
}

// RefusedError refuses a connection with an HTTP status and body of its own. It
// is returned from [SocketOptions.Connect]; other errors there are answered
// with an empty 403.
type RefusedError struct {
	Status int    // HTTP status, 400 to 599; any other value is sent as 403
	Body   string // sent as text/plain
	// RetryAfter is sent in whole seconds as the header field Retry-After; 0: none.
	RetryAfter time.Duration
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("channels: connection refused: %d %s", e.Status, e.Body)
}

// PanicError is the reason of a channel that crashed, because a callback
// panicked or the client pushed an event without a handler.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("channels: the channel crashed: %v", e.Value) }

// Unwrap returns the value of the panic if it was an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
