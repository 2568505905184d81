package conformance

import (
	"encoding/hex"
	"fmt"
	"sync"
	"time"
)

type eventKind uint8

const (
	eventOpened eventKind = iota
	eventText
	eventBinary
	eventPong
	eventClosed
	eventEnd
	eventViolation
)

// event is something that a client saw.
type event struct {
	client int
	kind   eventKind
	text   string // a text message, or the reason of a close frame
	data   []byte // a binary message, or the payload of a pong
	code   int    // of a close frame, noCode without payload
	reset  bool   // the end was a reset
	opened *httpAnswer
	err    error // of a violation
	at     time.Time
}

func (e event) String() string {
	switch e.kind {
	case eventOpened:
		return fmt.Sprintf("%d %s %q", e.opened.status, e.opened.reason, short(e.opened.body))
	case eventText:
		return short(e.text)
	case eventBinary:
		return "binary " + short(hex.EncodeToString(e.data))
	case eventPong:
		return fmt.Sprintf("pong %q", e.data)
	case eventClosed:
		return fmt.Sprintf("close frame %d %q", e.code, e.text)
	case eventEnd:
		if e.reset {
			return "a reset of the connection"
		}
		return "the end of the connection"
	}
	return e.err.Error()
}

// inbox collects what all clients saw, until the play handles it.
type inbox struct {
	signal chan struct{} // has a token when there is a new event

	mu     sync.Mutex
	queues map[int][]event
}

func newInbox() *inbox {
	return &inbox{signal: make(chan struct{}, 1), queues: map[int][]event{}}
}

// put adds an event. It is safe from any goroutine.
func (in *inbox) put(ev event) {
	ev.at = time.Now()
	in.mu.Lock()
	in.queues[ev.client] = append(in.queues[ev.client], ev)
	in.mu.Unlock()
	select {
	case in.signal <- struct{}{}:
	default:
	}
}

// takeEvent removes and returns the oldest event of a client for which want returns true.
func (in *inbox) takeEvent(want func(client int) bool) (event, bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for client, queue := range in.queues {
		if len(queue) > 0 && want(client) {
			in.queues[client] = queue[1:]
			return queue[0], true
		}
	}
	return event{}, false
}
