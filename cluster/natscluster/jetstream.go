package natscluster

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// maxPayload is the largest message between nodes, in bytes: the state of an
	// instance (1 MiB), its subject and its header fields.
	maxPayload = 1<<20 + 128<<10
	// storeMemory bounds what JetStream keeps in memory, in bytes: cursors of watchers,
	// and no streams.
	storeMemory = 64 << 20
	// routePing is how often a route is tried. One that does not answer twice is closed:
	// until then a node that comes back on another machine cannot take its place in a
	// group.
	routePing = 5 * time.Second
	// mostReplicas is how many servers keep a stream: one of them may be away.
	mostReplicas = 3
)

// ErrNoJetStream is returned by [Transport.OpenJetStream] of an embedded server that has
// no StoreDir.
var ErrNoJetStream = errors.New("natscluster: the embedded server keeps no streams")

// OpenJetStream returns JetStream over a connection of its own, whose traffic never
// delays that between nodes. The caller closes the connection, js.Conn(), before it
// closes the Transport. OpenJetStream does not wait: a group of embedded servers that
// starts takes some seconds to elect its leader, and until then requests fail. A request
// while NATS is away fails at once.
func (t *Transport) OpenJetStream() (jetstream.JetStream, error) {
	if t.server != nil && t.server.lock == nil {
		return nil, ErrNoJetStream
	}
	conn, err := t.dial(nats.Name("mycelium state"))
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(conn)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("natscluster: %w", err)
	}
	return js, nil
}

// Replicas returns how many servers should keep each stream: 3, or 1 if there are fewer
// than 3 nodes with embedded servers, or one external server.
func (t *Transport) Replicas() int {
	switch {
	case t.server != nil:
		return t.server.replicas
	case t.connection.ConnectedClusterName() == "":
		return 1
	}
	return mostReplicas
}

// JetStreamHealth returns an error while this node's embedded server has not caught up with
// what the other nodes keep, or cannot write to its disk. Until it has caught up,
// stopping another node may leave no majority. Without streams of its own the node is
// healthy.
func (t *Transport) JetStreamHealth() error {
	if t.server == nil || t.server.lock == nil {
		return nil
	}
	// nats-server has its checks behind this handler alone.
	answer := healthAnswer{status: http.StatusOK}
	t.server.server.HandleHealthz(&answer, &http.Request{URL: new(url.URL), Header: http.Header{}})
	var health server.HealthStatus
	if err := json.Unmarshal(answer.body, &health); err != nil {
		return fmt.Errorf("natscluster: the health of the embedded server: %w", err)
	}
	if health.Error != "" || answer.status != http.StatusOK {
		return fmt.Errorf("natscluster: %s", cmp.Or(health.Error, health.Status))
	}
	return nil
}

// healthAnswer is an http.ResponseWriter that keeps the answer.
type healthAnswer struct {
	header http.Header
	status int
	body   []byte
}

func (a *healthAnswer) Header() http.Header {
	if a.header == nil {
		a.header = make(http.Header)
	}
	return a.header
}

func (a *healthAnswer) WriteHeader(status int) { a.status = status }

func (a *healthAnswer) Write(b []byte) (int, error) {
	a.body = append(a.body, b...)
	return len(b), nil
}

func (o *EmbedOptions) replicas() int {
	if o.Listen == "" || o.Size < mostReplicas {
		return 1
	}
	return mostReplicas
}

// keepStreams turns JetStream on.
func keepStreams(options *server.Options, o EmbedOptions) error {
	options.JetStream, options.DisableJetStreamBanner = true, true
	options.StoreDir = o.StoreDir // the server appends "jetstream"
	options.JetStreamMaxMemory = storeMemory
	// Groups know their members by name.
	options.ServerName = o.Name
	if o.Listen == "" {
		return nil
	}
	if o.Size < 2 {
		return fmt.Errorf("natscluster: StoreDir and Listen are set, and Size is %d: want the number of nodes", o.Size)
	}
	if len(options.Routes) == 0 {
		return errors.New("natscluster: StoreDir and Listen are set, and Routes is empty: want the addresses of the nodes")
	}
	options.Cluster.PingInterval, options.Cluster.MaxPingsOut = routePing, 2
	// A group that has never met counts on one member for each route, and on two at
	// least. If that is less than there are, two halves of it might begin, each on its own.
	for i := 0; len(options.Routes) < o.Size; i++ {
		options.Routes = append(options.Routes, options.Routes[i])
	}
	return nil
}

// lockStore makes sure that no other process uses a directory.
func lockStore(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("natscluster: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(dir, "jetstream.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("natscluster: %w", err)
	}
	if err := lockFile(file); err != nil {
		file.Close()
		return nil, fmt.Errorf("natscluster: %s is in use by another process: %w", dir, err)
	}
	return file, nil
}
