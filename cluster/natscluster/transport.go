package natscluster

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mycelium-rt/mycelium/cluster"
)

// pendingBytes bounds the packets that wait in this process to be handled. nats.go drops
// what exceeds it; drops are counted here, and what was lost is asked for again.
const pendingBytes = 64 << 20

// pingEvery is how often the NATS server is pinged. After two unanswered pings the
// connection moves to another server, which is sooner than the kernel would give up.
const pingEvery = 5 * time.Second

// Transport is a [cluster.Transport] over one connection to NATS. Close also
// stops the server that [Embed] has started.
type Transport struct {
	// Static after construction.
	connection *nats.Conn
	prefix     string // of subjects: "mycelium.<cluster>."
	server     *embedded
	url        string        // of further connections
	options    []nats.Option // the same

	dropped       atomic.Uint64 // packets
	subscriptions []*nats.Subscription
	letters       chan letter // to single nodes
	closing       sync.Once
	closed        chan struct{}  // closed by Close
	sending       sync.WaitGroup // send

	mu sync.Mutex // held while a packet is received: two subscriptions have a goroutine each
}

// letter is a packet to a single node.
type letter struct {
	subject string
	data    []byte
}

// mostLetters bounds the letters that wait to be sent. Those that exceed it are dropped.
const mostLetters = 512

var _ cluster.Transport = (*Transport)(nil)

// clusterName is what a subject's token may be made of.
var clusterName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func checkCluster(name string) error {
	if !clusterName.MatchString(name) {
		return fmt.Errorf("natscluster: cluster %q: want 1 to 64 letters, digits, _ and -", name)
	}
	return nil
}

// Option is an option of nats.go, which programs then need not import.
type Option = nats.Option

// Credentials returns the option for a credentials file as nsc makes it.
func Credentials(file string) Option { return nats.UserCredentials(file) }

// TLS returns the option for TLS with a configuration of your own.
func TLS(c *tls.Config) Option { return nats.Secure(c) }

// Connect joins the named cluster over external NATS servers. url has one or
// more addresses, separated by commas, such as "tls://nats:4222". Connect fails
// if the first connection does. A connection that is lost later is restored,
// however long that takes.
func Connect(name, url string, options ...Option) (*Transport, error) {
	if err := checkCluster(name); err != nil {
		return nil, err
	}
	return connect(name, url, options)
}

func connect(name, url string, options []nats.Option) (*Transport, error) {
	t := &Transport{prefix: "mycelium." + name + ".", url: url, letters: make(chan letter, mostLetters), closed: make(chan struct{}), options: append([]nats.Option{
		nats.MaxReconnects(-1),
		nats.ReconnectBufSize(-1),   // publishing fails at once without a connection: the node's log is the buffer
		nats.IgnoreAuthErrorAbort(), // keep trying even if a server refuses the credentials for a while
		nats.PingInterval(pingEvery), nats.MaxPingsOutstanding(2),
		nats.FlusherTimeout(2 * pingEvery), // give up a server that reads nothing
	}, options...)}
	var err error
	if t.connection, err = t.dial(nats.Name("mycelium"), nats.NoEcho(), nats.ErrorHandler(t.handleError)); err != nil {
		return nil, err
	}
	if err := checkPayload(t.connection, cluster.MaxPacket); err != nil {
		t.connection.Close()
		return nil, err
	}
	return t, nil
}

func (t *Transport) dial(more ...nats.Option) (*nats.Conn, error) {
	conn, err := nats.Connect(t.url, slices.Concat(t.options, more)...)
	if err != nil {
		return nil, fmt.Errorf("natscluster: connecting to NATS: %w", err)
	}
	return conn, nil
}

// handleError counts what nats.go drops. It is called from goroutines of
// nats.go, which must not wait.
func (t *Transport) handleError(_ *nats.Conn, s *nats.Subscription, err error) {
	if s != nil && errors.Is(err, nats.ErrSlowConsumer) {
		t.dropped.Add(1)
	}
}

// Open implements [cluster.Transport].
func (t *Transport) Open(self cluster.LogID, receive func(data []byte)) error {
	handle := func(m *nats.Msg) {
		t.mu.Lock()
		defer t.mu.Unlock()
		receive(m.Data)
	}
	for _, subject := range []string{t.prefix + "log.0", t.subject(self)} {
		s, err := t.connection.Subscribe(subject, handle)
		if err != nil {
			return fmt.Errorf("natscluster: subscribing to %s: %w", subject, err)
		}
		if err := s.SetPendingLimits(-1, pendingBytes); err != nil {
			return fmt.Errorf("natscluster: subscribing to %s: %w", subject, err)
		}
		t.subscriptions = append(t.subscriptions, s)
	}
	if err := t.connection.Flush(); err != nil {
		return fmt.Errorf("natscluster: subscribing: %w", err)
	}
	t.sending.Go(t.send)
	return nil
}

func (t *Transport) subject(log cluster.LogID) string { return t.prefix + "node." + log.String() }

// ToAll implements [cluster.Transport]. It fails while NATS is not connected.
func (t *Transport) ToAll(data []byte) error { return t.connection.Publish(t.prefix+"log.0", data) }

// To implements [cluster.Transport]. It does not publish itself: that waits, for up to 10 s,
// for a server that reads nothing, and event loops call To.
func (t *Transport) To(log cluster.LogID, data []byte) {
	select {
	case t.letters <- letter{t.subject(log), bytes.Clone(data)}:
	default:
	}
}

// send publishes letters until Close is called, and then those that wait.
func (t *Transport) send() {
	for {
		select {
		case l := <-t.letters:
			t.sendLetter(l)
		case <-t.closed:
			for len(t.letters) > 0 {
				t.sendLetter(<-t.letters)
			}
			return
		}
	}
}

func (t *Transport) sendLetter(l letter) {
	t.connection.Publish(l.subject, l.data) //nolint:errcheck // what cannot be sent is asked for again
}

// Close implements [cluster.Transport]. Messages that were sent before leave
// first if NATS is connected.
func (t *Transport) Close() error {
	t.closing.Do(func() { close(t.closed) })
	t.sending.Wait()
	for _, s := range t.subscriptions {
		s.Unsubscribe() //nolint:errcheck // the connection is closed below
	}
	if t.connection.IsConnected() { // otherwise Flush would wait for its timeout
		t.connection.Flush() //nolint:errcheck // a broken connection is closed all the same
	}
	t.connection.Close()
	t.mu.Lock() // the last packet has been received
	defer t.mu.Unlock()
	if t.server != nil {
		t.server.stop()
	}
	return nil
}

// Stats are the counters of a [Transport] since its start, and its present
// connections.
type Stats struct {
	// Connected reports whether NATS is connected.
	Connected bool
	// Reconnects counts the connections after the first.
	Reconnects uint64
	// Dropped counts how often received messages were dropped because too many
	// waited.
	Dropped uint64
	// Routes is the number of other servers that an embedded one is connected
	// to.
	Routes int
}

// Stats returns the counters.
func (t *Transport) Stats() Stats {
	s := Stats{Connected: t.connection.IsConnected(), Reconnects: t.connection.Stats().Reconnects, Dropped: t.dropped.Load()}
	if t.server != nil {
		s.Routes = t.server.routes()
	}
	return s
}
