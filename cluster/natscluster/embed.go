package natscluster

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/mycelium-rt/mycelium/internal/nodekey"
)

// EmbedOptions configure the NATS server of [Embed].
type EmbedOptions struct {
	// Cluster is the name of the cluster, the same on all nodes: letters, digits, _ and -.
	Cluster string
	// Name is the name of this node.
	Name string
	// Listen is the address at which the servers of other nodes connect:
	// "10.0.0.1:6222" or ":6222". Empty: there are no other nodes.
	Listen string
	// Routes are addresses of other nodes, such as "nats://node-2:6222". Each node
	// passes on the addresses of the others, so not all are needed. The node's own
	// address may be among them.
	Routes []string
	// Secret is a secret of at least 32 bytes that all nodes share. With it
	// they authenticate each other and encrypt their traffic (TLS 1.3).
	Secret []byte
	// Insecure does not use TLS, for a trusted network or a single machine. The
	// secret is still required.
	Insecure bool
	// Log, if not nil, is called with the log lines of the server.
	Log func(line string)

	// StoreDir, if not empty, is a directory in which this node keeps its replicas of
	// JetStream's streams, below StoreDir/jetstream; see [Transport.OpenJetStream]. It
	// belongs to the node called Name: no other node may use it, and the node must not
	// be renamed.
	StoreDir string
	// Size is the number of nodes. With StoreDir it is required, unless Listen is empty:
	// nodes agree by majority, and must know of how many.
	Size int
}

const (
	// startTimeout is how long the server may take to listen, and to accept this node's
	// connection. Usually it takes milliseconds.
	startTimeout = 10 * time.Second
	// reportEvery is how many failed attempts to reach a node, one a second, there are for
	// each that is logged. The first is always logged.
	reportEvery = 60
	// secretBytes is the minimum length of a secret.
	secretBytes = 32
	// user is the name that routes authenticate with.
	user = "mycelium"
)

// Embed starts a NATS server in this process, which connects to those of the
// other nodes, and a connection to it. NATS clients cannot connect to the
// server.
func Embed(o EmbedOptions) (*Transport, error) {
	options, err := serverOptions(o)
	if err != nil {
		return nil, err
	}
	e := &embedded{replicas: o.replicas()}
	if o.StoreDir != "" {
		if e.lock, err = openStore(o.StoreDir, options); err != nil {
			return nil, err
		}
	}
	if e.server, err = startServer(options, &o); err != nil {
		e.lock.Close()
		return nil, err
	}
	t, err := connect(o.Cluster, "", []nats.Option{
		nats.InProcessServer(e.server), nats.UserInfo(options.Username, options.Password),
		nats.Timeout(startTimeout), // a busy machine may need longer than the usual 2 s
	})
	if err != nil {
		e.stop()
		return nil, err
	}
	t.server = e
	return t, nil
}

// startServer starts a server and waits until it listens.
func startServer(options *server.Options, o *EmbedOptions) (*server.Server, error) {
	s, err := server.NewServer(options)
	if err != nil {
		return nil, fmt.Errorf("natscluster: the embedded server: %w", err)
	}
	if o.Log != nil {
		s.SetLoggerV2(lines{o.Log}, false, false, false)
	}
	go s.Start()
	if !s.ReadyForConnections(startTimeout) {
		(&embedded{server: s}).stop()
		return nil, fmt.Errorf("natscluster: the embedded server does not listen on %s: is the port taken?", o.Listen)
	}
	return s, nil
}

func serverOptions(o EmbedOptions) (*server.Options, error) {
	if err := checkCluster(o.Cluster); err != nil {
		return nil, err
	}
	options := &server.Options{
		// Two servers with the same name refuse each other's route, even if the first is dead
		// and its connection lingers. Package cluster decides which of two nodes with the same
		// name stays.
		ServerName: o.Name + "-" + rand.Text()[:8],
		Username:   user, Password: rand.Text(),
		NoSigs: true, NoLog: o.Log == nil, MaxPayload: maxPayload, WriteDeadline: 10 * time.Second,
		ConnectErrorReports: reportEvery, ReconnectErrorReports: reportEvery,
	}
	if o.Listen == "" {
		options.DontListen = true
	} else if err := joinRoutes(options, o); err != nil {
		return nil, err
	}
	if o.StoreDir != "" {
		return options, keepStreams(options, o)
	}
	return options, nil
}

// joinRoutes has the server connect to the servers of other nodes.
func joinRoutes(options *server.Options, o EmbedOptions) error {
	if len(o.Secret) < secretBytes {
		return fmt.Errorf("natscluster: the secret has %d bytes, want at least %d", len(o.Secret), secretBytes)
	}
	host, port, err := splitAddress(o.Listen)
	if err != nil {
		return err
	}
	if options.Routes, err = parseRoutes(o.Routes, o.Secret); err != nil {
		return err
	}
	// With DontListen the server would have no routes either (nats-server 2.15.3), so it
	// listens on the loopback interface, with a random password.
	options.Host, options.Port = "127.0.0.1", server.RANDOM_PORT
	options.Cluster = server.ClusterOpts{
		Name: o.Cluster, Host: host, Port: port, Username: user, Password: password(o.Secret), NoAdvertise: false,
		PoolSize: -1, // one connection for each route keeps a sender's order
	}
	if !o.Insecure {
		config, err := nodekey.TLS(o.Secret, o.Name)
		if err != nil {
			return err
		}
		options.Cluster.TLSConfig, options.Cluster.TLSTimeout = config, 5
	}
	return nil
}

func splitAddress(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	if err != nil {
		return "", 0, fmt.Errorf("natscluster: listening at %q: want HOST:PORT or :PORT", address)
	}
	if host == "" {
		host = "0.0.0.0"
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, nil
}

// parseRoutes parses addresses and adds the credentials of routes.
func parseRoutes(texts []string, shared []byte) ([]*url.URL, error) {
	routes := make([]*url.URL, len(texts))
	for i, text := range texts {
		u, err := url.Parse(text)
		if err == nil && (u.Scheme != "nats" || u.Port() == "" || u.Hostname() == "") {
			err = errors.New("want nats://HOST:PORT")
		}
		if err != nil {
			return nil, fmt.Errorf("natscluster: route %q: %w", text, err)
		}
		u.User = url.UserPassword(user, password(shared))
		routes[i] = u
	}
	return routes, nil
}

// embedded is a NATS server in this process.
type embedded struct {
	server   *server.Server
	replicas int      // of streams
	lock     *os.File // of its StoreDir; nil without one
}

func (e *embedded) stop() {
	e.server.Shutdown()
	e.server.WaitForShutdown()
	e.lock.Close() // os.File does nothing for nil
}

func (e *embedded) routes() int { return e.server.NumRoutes() }

// RouteAddr returns the address at which the embedded server listens for
// others, or nil for a Transport of [Connect].
func (t *Transport) RouteAddr() *net.TCPAddr {
	if t.server == nil {
		return nil
	}
	return t.server.server.ClusterAddr()
}

// lines is a logger for nats-server that passes on warnings and errors.
type lines struct{ log func(string) }

func (l lines) Noticef(string, ...any) {}
func (l lines) Debugf(string, ...any)  {}
func (l lines) Tracef(string, ...any)  {}
func (l lines) Warnf(format string, v ...any) {
	line := fmt.Sprintf(format, v...)
	// The first is about configuration files; our configuration is made in memory. The
	// second comes with each call of JetStreamHealth, which returns the same. The last only
	// means that JetStream compacts the records of its streams.
	if !strings.HasPrefix(line, "Plaintext passwords") && !strings.HasPrefix(line, "Healthcheck failed") && !strings.HasPrefix(line, "Metalayer blocking snapshot") {
		l.log(line)
	}
}
func (l lines) Errorf(format string, v ...any) { l.log(fmt.Sprintf(format, v...)) }
func (l lines) Fatalf(format string, v ...any) { l.log(fmt.Sprintf(format, v...)) }
