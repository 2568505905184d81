package cluster

import (
	"fmt"
	"time"
)

// LogID identifies the log of one run of one node. It is random and only
// compared for equality: with identifiers ordered by clocks, messages were lost
// when clocks jumped.
type LogID uint64

// String returns the identifier in hexadecimal.
func (id LogID) String() string { return fmt.Sprintf("%016x", uint64(id)) }

// Transport carries packets between the nodes of one cluster. It may lose them,
// or deliver them late or twice. Apart from that, packets of one sender arrive
// in the order in which they were sent.
type Transport interface {
	// Open connects. receive is called with each packet of other nodes, by one
	// goroutine at a time; data is valid until it returns.
	Open(self LogID, receive func(data []byte)) error
	// ToAll sends data to all other nodes. It may block, and must not keep
	// data. An error means that data was not sent; the node will try again.
	ToAll(data []byte) error
	// To sends data to the node of one log, or drops it if that is not
	// possible. It must neither block nor keep data.
	To(log LogID, data []byte)
	// Close disconnects. After it has returned, receive is not called again.
	Close() error
}

// Clock runs timers.
type Clock interface {
	// Now returns the time since some fixed moment. It never goes back.
	Now() time.Duration
	// AfterFunc calls f after d, on a goroutine of its own, unless stop is
	// called before.
	AfterFunc(d time.Duration, f func()) (stop func())
}

// SystemClock returns the clock of the machine.
func SystemClock() Clock { return systemClock{time.Now()} }

type systemClock struct{ origin time.Time }

func (c systemClock) Now() time.Duration { return time.Since(c.origin) }

func (c systemClock) AfterFunc(d time.Duration, f func()) func() {
	t := time.AfterFunc(d, f)
	return func() { t.Stop() }
}
