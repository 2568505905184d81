// Package config is the server's configuration: defaults, then a YAML or TOML
// file, then environment variables, then flags, each over the one before.
//
// options.go has the one table of options. A file's keys, the variables, the
// flags, the help text, the reference in Markdown and the limits of a spec
// (instances.Limits) all come from it.
package config

import (
	"cmp"
	"encoding/json"
	"net"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"github.com/mycelium-rt/mycelium/channels"
)

// ErrHelp is returned by Load when the arguments ask for help; the caller
// prints Help.
var ErrHelp = pflag.ErrHelp

// Config is a configuration that has been checked as a whole.
type Config struct {
	// File is the file that was read, empty if there was none.
	File string
	// Warnings are sentences about settings that are valid but probably not intended.
	Warnings []string

	// APIKeys, HistoryRules, Hooks and Instances are the objects that the file lists as
	// api.keys, history.rules, hooks and instances, as JSON.
	APIKeys      []json.RawMessage
	HistoryRules []json.RawMessage
	Hooks        []json.RawMessage
	Instances    []json.RawMessage

	// origins has where the value of each option came from. Options with their
	// default are not in it, and it never contains a secret.
	origins map[string]string
	// refused has the options whose values were wrong and were replaced by another.
	// It is empty unless the configuration is the Partial of an Error.
	refused map[string]bool
	// lists is the file that these lists come from, nil if there is none.
	lists *configFile

	// Listen is the TCP address of the one port, as net.Listen takes it.
	Listen string
	// TCPListen is the TCP address of the port for raw TCP; empty: there is none.
	TCPListen string
	// Path is where the socket is mounted: "/socket" serves /socket/websocket.
	// It begins with a slash and does not end with one.
	Path string
	// Data is the directory where instances are kept; empty: in memory.
	Data string
	// Dialect is what clients of the default instance speak: DialectPhoenix or
	// DialectRealtime.
	Dialect string
	// Topics are the patterns that the relay serves, exact or with a * at the
	// end. Topics that begin with "phoenix" are never served.
	Topics []string
	// CheckOrigin is the policy for the Origin header of handshakes.
	CheckOrigin CheckOrigin
	// TrustedProxies are addresses and networks of proxies; Proxies parses them.
	TrustedProxies []string
	// IdleTimeout is how long a client may be silent.
	IdleTimeout time.Duration
	// Compress agrees to permessage-deflate with clients that offer it.
	Compress bool
	// LongPoll serves long polling as well as WebSockets.
	LongPoll bool
	// LongPollWindow is how long a poll waits for messages.
	LongPollWindow time.Duration
	// LongPollGrace is how long a session outlives a poll that its client aborted.
	LongPollGrace time.Duration
	// Loops is the number of event loops; 0 means one for each core.
	Loops int
	// IOUring is one of auto, on and off.
	IOUring string

	Log      Log
	Limits   Limits
	Presence Presence
	Realtime Realtime
	History  History
	Events   Events
	Drain    Drain
	Metrics  Metrics
	API      API
	Auth     Auth
	TLS      TLS
	Cluster  Cluster
}

// History bounds what is recorded.
type History struct {
	// Memory bounds the recorded messages of all instances together, in bytes.
	Memory int
	// Disk bounds those of durable rules on disk, in bytes.
	Disk int
}

// Events bounds the events that wait for hooks, of each instance.
type Events struct {
	// Outbox bounds those that wait, in bytes.
	Outbox int
	// MaxAge is the age at which one that no hook takes becomes a dead letter.
	MaxAge time.Duration
	// Kept bounds those that all hooks have taken, in bytes: at most half of Outbox.
	Kept int
}

// Cluster says which cluster this node belongs to and how it reaches the other nodes:
// through a NATS server of its own (Listen) or external ones (NATSURL).
type Cluster struct {
	// Name is the name of the cluster; empty: this is a single node.
	Name string
	// Node is the name of this node; empty: the name of the machine.
	Node string

	// Listen is the TCP address on which other nodes connect.
	Listen string
	// Routes are the addresses of other nodes, nats://HOST:PORT.
	Routes []string
	// SecretFile contains the secret that all nodes share.
	SecretFile string
	// Insecure turns off TLS between the nodes.
	Insecure bool
	// ForwardListen is the TCP address on which other nodes forward clients; empty: a
	// free port (see [Cluster.ForwardAddress]).
	ForwardListen string

	// NATSURL are the addresses of external NATS servers. Their credentials and TLS
	// files follow; each may be empty.
	NATSURL   []string
	NATSCreds string
	NATSCA    string
	NATSCert  string
	NATSKey   string
	// NATSEvents are the names of events that are published to the NATS servers.
	NATSEvents []string

	// Size is the number of nodes; 0: unknown.
	Size int
	// Instances is where instances live: local or shared.
	Instances string
}

// SharesInstances reports whether the nodes have their instances in common.
func (c Cluster) SharesInstances() bool { return c.Enabled() && c.Instances == "shared" }

// Enabled reports whether the server is to join a cluster.
func (c Cluster) Enabled() bool { return c.Name != "" }

// Embedded reports whether the server has a NATS server of its own.
func (c Cluster) Embedded() bool { return c.Listen != "" }

// Forwards reports whether nodes forward clients to each other.
func (c Cluster) Forwards() bool { return c.Enabled() && c.SecretFile != "" }

// ForwardAddress returns the TCP address on which other nodes forward clients: by
// default a free port at the host on which they connect, or else clients do.
func (c *Config) ForwardAddress() string {
	if c.Cluster.ForwardListen != "" {
		return c.Cluster.ForwardListen
	}
	host, _, err := net.SplitHostPort(cmp.Or(c.Cluster.Listen, c.Listen))
	if err != nil {
		host = ""
	}
	return net.JoinHostPort(host, "0")
}

// API says how the HTTP API is reached.
type API struct {
	// Enabled serves the API.
	Enabled bool
	// PublicURL is the server's URL for clients, possibly with a path. If it is empty,
	// clients get the host that a request was sent to.
	PublicURL string
	// PrivateJWKS lets the auth of instances fetch jwks from private networks.
	PrivateJWKS bool
	// PrivateHooks lets the hooks of instances be in private networks, and see what clients
	// mean for the server alone.
	PrivateHooks bool
	// MaxBatch bounds a request for many broadcasts.
	MaxBatch int
}

// Log says what is logged and how.
type Log struct {
	// Level is one of debug, info, warn, error and off.
	Level string
	// Format is one of auto (text on a terminal, JSON elsewhere), text, json.
	Format string
}

// Limits bound what clients may use. The fields of channels.Limits that no option
// has are left at their defaults.
type Limits struct {
	// OutboundBytes ≥ MaxMessage + envelopeBytes.
	channels.Limits
	// SlowReceiver is what happens when OutboundBytes are reached: one of
	// disconnect, drop_oldest, drop_newest.
	SlowReceiver string
}

// Presence says what clients learn of presence.
type Presence struct {
	// Window is how long diffs are gathered into one; 0: sent at once.
	Window time.Duration
	// Off are the patterns of topics without presence.
	Off []string
	// DiffsOff are the patterns of topics whose diffs are not sent.
	DiffsOff []string
}

// The values of Config.Dialect.
const (
	DialectPhoenix  = "phoenix"
	DialectRealtime = "realtime"
)

// Realtime configures the default instance if its clients are Supabase's.
type Realtime struct {
	// Keys are API keys with which clients connect without a token.
	Keys []string
	// PrivateOnly refuses public channels.
	PrivateOnly bool
	// PostgresChanges is what a join that asks for changes of a database gets: refuse or
	// system_error.
	PostgresChanges string
	// Payload is the largest payload of a broadcast, in bytes.
	Payload int
}

// Drain says how sockets are closed when the server stops.
type Drain struct {
	// Batch is how many sockets are closed at a time.
	Batch int
	// Interval is the pause between two batches.
	Interval time.Duration
	// Timeout bounds the whole drain; connections that are still open then are cut.
	Timeout time.Duration
	// Delay is how long the server keeps serving before it begins to drain.
	Delay time.Duration
	// CloseFrame sends a Close frame before the TCP connection is closed.
	CloseFrame bool
}

// Metrics says where /metrics is served and who may read it.
type Metrics struct {
	// Listen is the TCP address of a separate port; empty: the main port.
	Listen string
	// Allow are IP addresses and networks that may read it on the port of Listen;
	// Networks parses them.
	Allow []string
	// Token is a bearer token that permits reading; empty: there is none.
	Token string
}

// Proxies returns the networks of TrustedProxies.
func (c *Config) Proxies() []netip.Prefix { return networksOf(c.TrustedProxies) }

// Networks returns the networks of Allow.
func (m Metrics) Networks() []netip.Prefix { return networksOf(m.Allow) }

func networksOf(texts []string) []netip.Prefix {
	networks := make([]netip.Prefix, 0, len(texts))
	for _, a := range texts {
		if n, err := parseNetwork(a); err == nil { // the kind has checked it
			networks = append(networks, n.Masked())
		}
	}
	return networks
}

// Auth says which tokens clients need, except those of instances with auth of their own.
// The server makes auth.Options of it. Without a secret, key or JWKS, clients need none.
type Auth struct {
	// Secret or PublicKeyFile, not both, verify tokens of Algorithm.
	Secret        string
	PublicKeyFile string
	Algorithm     string
	// JWKS are addresses of keys.
	JWKS []string
	// PhoenixSecret is a secret_key_base, for tokens of Phoenix.Token.
	PhoenixSecret string
	PhoenixSalt   string
	PhoenixMaxAge time.Duration

	Issuer   string
	Audience []string
	Leeway   time.Duration
	NoExpiry bool

	From  []string
	Param string

	SocketID     string
	User         string
	Join         []string
	Publish      []string
	JoinClaim    string
	PublishClaim string
	OnlyClaim    string

	Warning time.Duration
	// MaxRevocations bounds how many tokens are revoked at a time.
	MaxRevocations int
}

// Enabled reports whether clients need a token.
func (a Auth) Enabled() bool {
	return a.Secret != "" || a.PublicKeyFile != "" || len(a.JWKS) > 0 || a.PhoenixSecret != ""
}

// TLS says where the server's certificates come from: from files, from an authority, or,
// without TLS, from nowhere.
type TLS struct {
	// Cert and Key are the files of a certificate and its key: both or none are set.
	Cert string
	Key  string
	// Clear says what happens to requests without TLS on a port with TLS: one of
	// redirect, refuse and allow.
	Clear string
	// ClientCA is the file with the authorities of clients; empty: clients need no
	// certificates. ClientCert is one of require and request.
	ClientCA   string
	ClientCert string

	// ACMEHosts are the names that the authority at ACMEDirectory certifies; empty: there
	// is no authority.
	ACMEHosts     []string
	ACMEEmail     string
	ACMEDirectory string
	// ACMECA is the file with the authorities of ACMEDirectory; empty: the system's.
	ACMECA string
	// ACMEListen is the TCP address for HTTP-01; empty: there is none.
	ACMEListen string
	// ACMECache is the directory of certificates; empty: see [Config.ACMECacheDir].
	ACMECache string
}

// Enabled reports whether the server is to speak TLS.
func (t TLS) Enabled() bool { return t.Cert != "" || t.ACME() }

// ACME reports whether an authority is asked for certificates.
func (t TLS) ACME() bool { return len(t.ACMEHosts) > 0 }

// ACMECacheDir returns the directory of certificates.
func (c *Config) ACMECacheDir() string {
	if c.TLS.ACMECache != "" {
		return c.TLS.ACMECache
	}
	return filepath.Join(c.Data, "acme")
}

// OriginMode says how the Origin header of a handshake is checked.
type OriginMode string

// The modes of an origin check.
const (
	// OriginHost requires the host of the request, on any port (Phoenix: true).
	OriginHost OriginMode = "host"
	// OriginConn requires the host and port of the request (Phoenix: :conn).
	OriginConn OriginMode = "conn"
	// OriginOff admits every origin (Phoenix: false).
	OriginOff OriginMode = "off"
	// OriginList requires one of CheckOrigin.Origins (Phoenix: a list).
	OriginList OriginMode = "list"
)

// CheckOrigin is the policy for the Origin header.
type CheckOrigin struct {
	Mode OriginMode
	// Origins are the allowed ones of OriginList, [scheme:]//host[:port] in
	// lower case; the host may begin with "*.".
	Origins []string
}
