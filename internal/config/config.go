// Package config is the server's configuration: defaults, then a YAML or TOML
// file, then environment variables, then flags, each over the one before.
//
// options.go has the one table of options. A file's keys, the variables, the
// flags, the help text, the reference in Markdown and the limits of a spec
// (instances.Limits) all come from it.
package config

import (
	"encoding/json"
	"net/netip"
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
	// Warnings are sentences about what is allowed and probably not meant.
	Warnings []string

	// APIKeys and Instances are the objects that the file lists as api.keys and
	// instances, as JSON.
	APIKeys   []json.RawMessage
	Instances []json.RawMessage

	// origins says where the value of an option came from; options with their
	// default are not in it. A secret's value is in none.
	origins map[string]string
	// refused are the options whose values were wrong: they have another one here.
	// It is empty unless the configuration is the Partial of an Error.
	refused map[string]bool
	// lists is the file that has APIKeys and Instances, nil if there is none.
	lists *configFile

	// Listen is the TCP address of the one port, as net.Listen takes it.
	Listen string
	// Path is where the socket is mounted: "/socket" serves /socket/websocket.
	// It begins with a slash and does not end with one.
	Path string
	// Data is the directory where instances are kept; empty: in memory.
	Data string
	// Topics are the patterns that the relay serves, exact or with a * at the
	// end. Topics that begin with "phoenix" are not served whatever is here.
	Topics []string
	// CheckOrigin is the policy for the Origin header of handshakes.
	CheckOrigin CheckOrigin
	// TrustedProxies are the addresses and networks of proxies: see Proxies.
	TrustedProxies []string
	// IdleTimeout is how long a client may be silent.
	IdleTimeout time.Duration
	// Compress agrees to permessage-deflate with clients that offer it.
	Compress bool
	// LongPoll serves long polling beside WebSockets.
	LongPoll bool
	// LongPollWindow is how long a poll waits for messages.
	LongPollWindow time.Duration
	// LongPollGrace is how long a session outlives a poll that its client broke off.
	LongPollGrace time.Duration
	// Loops is the number of event loops; 0 means one a core.
	Loops int
	// IOUring is one of auto, on and off.
	IOUring string

	Log      Log
	Limits   Limits
	Presence Presence
	Drain    Drain
	Metrics  Metrics
	API      API
	Auth     Auth
	TLS      TLS
	Cluster  Cluster
}

// Cluster says which nodes this one belongs to, and how it reaches them: by a
// server of its own (Listen) or by others' (NATSURL).
type Cluster struct {
	// Name is that of the cluster; empty: this is a single node.
	Name string
	// Node is this node's own; empty: the machine's.
	Node string

	// Listen is the TCP address for other nodes.
	Listen string
	// Routes are the addresses of other nodes, nats://HOST:PORT.
	Routes []string
	// SecretFile has what all nodes know.
	SecretFile string
	// Insecure does without TLS between the nodes.
	Insecure bool

	// NATSURL are the addresses of external servers, with credentials and files
	// of TLS for them, each of which may be empty.
	NATSURL   []string
	NATSCreds string
	NATSCA    string
	NATSCert  string
	NATSKey   string

	// Size is how many nodes there are; 0: it is not known.
	Size int
}

// Enabled reports whether the server is to join a cluster.
func (c Cluster) Enabled() bool { return c.Name != "" }

// Embedded reports whether the server has a NATS server of its own.
func (c Cluster) Embedded() bool { return c.Listen != "" }

// API says how the HTTP API is reached.
type API struct {
	// Enabled is false where there is to be none.
	Enabled bool
	// PublicURL is the server's URL for clients, possibly with a path; empty: the
	// host that a request was sent to.
	PublicURL string
	// PrivateJWKS lets the auth of instances name jwks of private networks.
	PrivateJWKS bool
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

// Presence says how presence is told to clients.
type Presence struct {
	// Window is how long diffs are gathered into one; 0: sent at once.
	Window time.Duration
	// Off are the patterns of topics without presence.
	Off []string
	// DiffsOff are the patterns of topics whose diffs are not sent.
	DiffsOff []string
}

// Drain says how sockets are closed when the server stops.
type Drain struct {
	// Batch is how many sockets are closed at a time.
	Batch int
	// Interval is the pause between two batches.
	Interval time.Duration
	// Timeout bounds all of it; what is still open then is cut.
	Timeout time.Duration
	// Delay is how long the server goes on before it begins to drain.
	Delay time.Duration
	// CloseFrame is false to end TCP without a Close frame.
	CloseFrame bool
}

// Metrics says where and by whom /metrics is read.
type Metrics struct {
	// Listen is the TCP address of a port of its own; empty: the main port.
	Listen string
	// Allow are IP addresses and networks, for the port of Listen: see Networks.
	Allow []string
	// Token is a bearer token that allows to read; empty: none does.
	Token string
}

// Proxies returns the networks of TrustedProxies.
func (c *Config) Proxies() []netip.Prefix { return networksOf(c.TrustedProxies) }

// Networks are those of Allow.
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

// Auth says which tokens the clients of instances need that have no auth of their own; auth.Options
// are made of it. With no secret, key or JWKS, they need none.
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

	Warning time.Duration
}

// Enabled reports whether clients need a token.
func (a Auth) Enabled() bool {
	return a.Secret != "" || a.PublicKeyFile != "" || len(a.JWKS) > 0 || a.PhoenixSecret != ""
}

// TLS names the files of a certificate and its key: both or none are set.
type TLS struct {
	Cert string
	Key  string
	// Clear says what becomes of requests without TLS where there is TLS: one of
	// redirect, refuse and allow.
	Clear string
}

// Enabled reports whether the server is to speak TLS.
func (t TLS) Enabled() bool { return t.Cert != "" }

// OriginMode says how the Origin header of a handshake is checked.
type OriginMode string

// The modes of an origin check.
const (
	// OriginHost wants the host of the request, whatever the port (Phoenix: true).
	OriginHost OriginMode = "host"
	// OriginConn wants the host and port of the request (Phoenix: :conn).
	OriginConn OriginMode = "conn"
	// OriginOff lets every origin in (Phoenix: false).
	OriginOff OriginMode = "off"
	// OriginList wants one of CheckOrigin.Origins (Phoenix: a list).
	OriginList OriginMode = "list"
)

// CheckOrigin is the policy for the Origin header.
type CheckOrigin struct {
	Mode OriginMode
	// Origins are the allowed ones of OriginList, [scheme:]//host[:port] in
	// lower case; the host may begin with "*.".
	Origins []string
}
