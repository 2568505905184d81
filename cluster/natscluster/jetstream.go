package natscluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// maxPayload is the largest message between nodes, in bytes: the state of an
	// instance (1 MiB), its subject and its header fields.
	maxPayload = 1<<20 + 128<<10
	// storeMemory bounds what JetStream keeps in memory, in bytes: the cursors of watchers,
	// but no streams.
	storeMemory = 64 << 20
	// syncEvery is how often files are flushed to the disk. If one node alone keeps a
	// stream, each write is flushed before it is answered instead (0.6 ms rather than 0.2).
	// Otherwise two other nodes have what a crashed machine had not flushed.
	syncEvery = 10 * time.Second
	// syncAlone is the same for a server without others. A process that crashes loses
	// nothing, since the system has what it has written, but a machine may.
	syncAlone = time.Second
	// routePing is how often a route is pinged. After two unanswered pings it is closed;
	// until then, a node that comes back on another machine cannot take its place in a
	// group again.
	routePing = 5 * time.Second
	// mostReplicas is how many servers keep a stream at most. With three, one may be away.
	mostReplicas = 3
)

// OpenJetStream returns JetStream over a connection of its own, whose traffic never
// delays that between nodes. Streams are kept by the external servers, or by the nodes
// that have a StoreDir. The caller closes the connection, js.Conn(), before it
// closes the Transport. OpenJetStream does not wait: a group of embedded servers takes some
// seconds after its start to elect a leader, and until then requests fail. While NATS
// cannot be reached, requests fail at once.
func (t *Transport) OpenJetStream() (jetstream.JetStream, error) {
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

// Keepers are the names of the servers that keep a key-value bucket.
type Keepers struct {
	Leader string
	// Current have all of it, Behind do not yet, and Away cannot be reached.
	Current, Behind, Away []string
}

// Keepers returns the servers that keep a bucket. It fails unless a majority of them can be
// reached.
func (t *Transport) Keepers(ctx context.Context, bucket string) (k Keepers, err error) {
	js, err := t.OpenJetStream()
	if err != nil {
		return k, err
	}
	defer js.Conn().Close()
	stream, err := js.Stream(ctx, "KV_"+bucket) // it asks the leader
	if err != nil {
		return k, fmt.Errorf("natscluster: bucket %s: %w", bucket, err)
	}
	group := stream.CachedInfo().Cluster
	if group == nil {
		return k, nil // a server without others
	}
	if group.Leader == "" {
		return k, fmt.Errorf("natscluster: bucket %s has no leader", bucket)
	}
	k.Leader, k.Current = group.Leader, []string{group.Leader}
	for _, r := range group.Replicas {
		switch {
		case r.Offline:
			k.Away = append(k.Away, r.Name)
		case !r.Current:
			k.Behind = append(k.Behind, r.Name)
		default:
			k.Current = append(k.Current, r.Name)
		}
	}
	if here := len(k.Current) + len(k.Behind); here <= len(k.Away) {
		return k, fmt.Errorf("natscluster: bucket %s: %s are away", bucket, strings.Join(k.Away, ", ")) // the leader does not know it yet
	}
	return k, nil
}

// JetStreamHealth returns an error while this node's embedded server has not caught up with
// the streams that it shares with other nodes, or cannot write to its disk. Until it has
// caught up, stopping another node may leave no majority. A node without a StoreDir is
// always healthy.
func (t *Transport) JetStreamHealth() error {
	if t.server == nil || t.server.lock == nil {
		return nil
	}
	// nats-server offers its checks only through this handler.
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
	options.JetStreamMaxMemory, options.SyncInterval = storeMemory, syncEvery
	// Groups know their members by name.
	options.ServerName = o.Name
	if o.Listen == "" {
		options.SyncInterval = syncAlone
		return nil
	}
	if o.Size < 2 {
		return fmt.Errorf("natscluster: StoreDir and Listen are set, and Size is %d: want the number of nodes", o.Size)
	}
	if len(options.Routes) == 0 {
		return errors.New("natscluster: StoreDir and Listen are set, and Routes is empty: want the addresses of the nodes")
	}
	options.SyncAlways = o.replicas() == 1
	options.Cluster.PingInterval, options.Cluster.MaxPingsOut = routePing, 2
	// A new group expects one member for each route, and at least two. If that were fewer
	// than there are nodes, two parts of the cluster might each form a group of their own.
	for i := 0; len(options.Routes) < o.Size; i++ {
		options.Routes = append(options.Routes, options.Routes[i])
	}
	return nil
}

// openStore makes sure that no other process uses the directory, and no other node the name.
func openStore(dir string, options *server.Options) (*os.File, error) {
	lock, err := lockStore(dir)
	if err != nil {
		return nil, err
	}
	if err := checkName(options); err != nil {
		lock.Close()
		return nil, err
	}
	return lock, nil
}

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
