// Package config is the server's configuration: defaults, then a YAML or TOML
// file, then environment variables, then flags, each over the one before.
//
// options.go has the one table of options. A file's keys, the variables, the
// flags, the help text and the reference in Markdown all come from it.
package config

import (
	"encoding/json"
	"net/netip"
	"time"

	"github.com/spf13/pflag"
)

// ErrHelp is returned by Load when the arguments ask for help; the caller
// prints Help.
var ErrHelp = pflag.ErrHelp

// Config is a configuration that has been checked as a whole.
type Config struct {
	// File is the file that was read, empty if there was none.
	File string `koanf:"-"`
	// Warnings are sentences about what is allowed and probably not meant.
	Warnings []string `koanf:"-"`

	// APIKeys and Instances are the objects that the file lists as api.keys and
	// instances, as JSON.
	APIKeys   []json.RawMessage `koanf:"-"`
	Instances []json.RawMessage `koanf:"-"`

	// origins says where the value of an option came from; options with their
	// default are not in it. A secret's value is in none.
	origins map[string]string
	// refused are the options whose values were wrong: they have another one here.
	// It is empty unless the configuration is the Partial of an Error.
	refused map[string]bool
	// lists is the file that has APIKeys and Instances, nil if there is none.
	lists *configFile

	// Listen is the TCP address of the one port, as net.Listen takes it.
	Listen string `koanf:"listen"`
	// Path is where the socket is mounted: "/socket" serves /socket/websocket.
	// It begins with a slash and does not end with one.
	Path string `koanf:"path"`
	// Data is the directory where instances are kept; empty: in memory.
	Data string `koanf:"data"`
	// Topics are the patterns that the relay serves, exact or with a * at the
	// end. Topics that begin with "phoenix" are not served whatever is here.
	Topics []string `koanf:"topics"`
	// CheckOrigin is the policy for the Origin header of handshakes.
	CheckOrigin CheckOrigin `koanf:"check_origin"`
	// TrustedProxies are the addresses and networks of proxies: see Proxies.
	TrustedProxies []string `koanf:"trusted_proxies"`
	// IdleTimeout is how long a client may be silent.
	IdleTimeout time.Duration `koanf:"idle_timeout"`
	// Compress agrees to permessage-deflate with clients that offer it.
	Compress bool `koanf:"compress"`
	// LongPoll serves long polling beside WebSockets.
	LongPoll bool `koanf:"long_poll"`
	// LongPollWindow is how long a poll waits for messages.
	LongPollWindow time.Duration `koanf:"long_poll_window"`
	// LongPollGrace is how long a session outlives a poll that its client broke off.
	LongPollGrace time.Duration `koanf:"long_poll_grace"`
	// Loops is the number of event loops; 0 means one a core.
	Loops int `koanf:"loops"`
	// IOUring is one of auto, on and off.
	IOUring string `koanf:"io_uring"`

	Log      Log      `koanf:"log"`
	Limits   Limits   `koanf:"limits"`
	Presence Presence `koanf:"presence"`
	Drain    Drain    `koanf:"drain"`
	Metrics  Metrics  `koanf:"metrics"`
	API      API      `koanf:"api"`
	Auth     Auth     `koanf:"auth"`
	TLS      TLS      `koanf:"tls"`
	Cluster  Cluster  `koanf:"cluster"`
}

// Cluster says which nodes this one belongs to, and how it reaches them: by a
// server of its own (Listen) or by others' (NATSURL).
type Cluster struct {
	// Name is that of the cluster; empty: this is a single node.
	Name string `koanf:"name"`
	// Node is this node's own; empty: the machine's.
	Node string `koanf:"node"`

	// Listen is the TCP address for other nodes.
	Listen string `koanf:"listen"`
	// Routes are the addresses of other nodes, nats://HOST:PORT.
	Routes []string `koanf:"routes"`
	// SecretFile has what all nodes know.
	SecretFile string `koanf:"secret_file"`
	// Insecure does without TLS between the nodes.
	Insecure bool `koanf:"insecure"`

	// NATSURL are the addresses of external servers, with credentials and files
	// of TLS for them, each of which may be empty.
	NATSURL   []string `koanf:"nats_url"`
	NATSCreds string   `koanf:"nats_creds"`
	NATSCA    string   `koanf:"nats_ca"`
	NATSCert  string   `koanf:"nats_cert"`
	NATSKey   string   `koanf:"nats_key"`

	// Size is how many nodes there are; 0: it is not known.
	Size int `koanf:"size"`
}

// Enabled reports whether the server is to join a cluster.
func (c Cluster) Enabled() bool { return c.Name != "" }

// Embedded reports whether the server has a NATS server of its own.
func (c Cluster) Embedded() bool { return c.Listen != "" }

// API says how the HTTP API is reached.
type API struct {
	// Enabled is false where there is to be none.
	Enabled bool `koanf:"enabled"`
	// PublicURL is the server's URL for clients, possibly with a path; empty: the
	// host that a request was sent to.
	PublicURL string `koanf:"public_url"`
	// PrivateJWKS lets the auth of instances name jwks of private networks.
	PrivateJWKS bool `koanf:"private_jwks"`
}

// Log says what is logged and how.
type Log struct {
	// Level is one of debug, info, warn, error and off.
	Level string `koanf:"level"`
	// Format is one of auto (text on a terminal, JSON elsewhere), text, json.
	Format string `koanf:"format"`
}

// Limits bound what clients may use.
type Limits struct {
	// MaxMessage is the size in bytes of the largest message of a client.
	MaxMessage int `koanf:"max_message"`
	// MaxConnections bounds all connections of the server; 0: unlimited.
	MaxConnections int `koanf:"max_connections"`
	// MaxConnectionsPerAddress bounds those of one IP address; 0: unlimited.
	MaxConnectionsPerAddress int `koanf:"max_connections_per_address"`
	// AddressShare is the percentage of what others leave of MaxConnections that
	// one public address may have.
	AddressShare int `koanf:"address_share"`
	// HandshakesPerSecond is the rate at which sockets are admitted;
	// 0: unlimited.
	HandshakesPerSecond int `koanf:"handshakes_per_second"`
	// MaxChannels is how many channels one socket may have joined.
	MaxChannels int `koanf:"max_channels"`
	// SocketBytes is the size in bytes of what the channels of one socket keep.
	SocketBytes int `koanf:"socket_bytes"`
	// JoinsPerSecond is a rate of one socket; 0: unlimited.
	JoinsPerSecond int `koanf:"joins_per_second"`
	// MessagesPerSecond is a rate of one socket; 0: unlimited.
	MessagesPerSecond int `koanf:"messages_per_second"`
	// HeartbeatsPerSecond is a rate of one socket, of heartbeats, pings and what
	// is refused; 0: unlimited.
	HeartbeatsPerSecond int `koanf:"heartbeats_per_second"`
	// BytesPerSecond is a rate of one socket; 0: unlimited.
	BytesPerSecond int `koanf:"bytes_per_second"`
	// TotalJoinsPerSecond, TotalMessagesPerSecond and TotalBytesPerSecond are
	// rates of all sockets of one instance together; 0: unlimited.
	TotalJoinsPerSecond    int `koanf:"total_joins_per_second"`
	TotalMessagesPerSecond int `koanf:"total_messages_per_second"`
	TotalBytesPerSecond    int `koanf:"total_bytes_per_second"`
	// OutboundBytes bounds what waits to be written to one connection.
	// OutboundBytes ≥ MaxMessage + envelopeBytes.
	OutboundBytes int `koanf:"outbound_bytes"`
	// SendBuffer is the SO_SNDBUF of connections; 0: the kernel's choice.
	SendBuffer int `koanf:"send_buffer"`
	// SlowReceiver is what happens when OutboundBytes are reached: one of
	// disconnect, drop_oldest, drop_newest.
	SlowReceiver string `koanf:"slow_receiver"`
	// HeaderBytes bounds the head of an HTTP request.
	HeaderBytes int `koanf:"header_bytes"`
	// HandshakeTimeout is how long a connection has to send its request.
	HandshakeTimeout time.Duration `koanf:"handshake_timeout"`
}

// Presence says how presence is told to clients.
type Presence struct {
	// Window is how long diffs are gathered into one; 0: sent at once.
	Window time.Duration `koanf:"window"`
	// Off are the patterns of topics without presence.
	Off []string `koanf:"off"`
	// DiffsOff are the patterns of topics whose diffs are not sent.
	DiffsOff []string `koanf:"diffs_off"`
}

// Drain says how sockets are closed when the server stops.
type Drain struct {
	// Batch is how many sockets are closed at a time.
	Batch int `koanf:"batch"`
	// Interval is the pause between two batches.
	Interval time.Duration `koanf:"interval"`
	// Timeout bounds all of it; what is still open then is cut.
	Timeout time.Duration `koanf:"timeout"`
	// Delay is how long the server goes on before it begins to drain.
	Delay time.Duration `koanf:"delay"`
	// CloseFrame is false to end TCP without a Close frame.
	CloseFrame bool `koanf:"close_frame"`
}

// Metrics says where and by whom /metrics is read.
type Metrics struct {
	// Listen is the TCP address of a port of its own; empty: the main port.
	Listen string `koanf:"listen"`
	// Allow are IP addresses and networks, for the port of Listen: see Networks.
	Allow []string `koanf:"allow"`
	// Token is a bearer token that allows to read; empty: none does.
	Token string `koanf:"token"`
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
	Secret        string `koanf:"secret"`
	PublicKeyFile string `koanf:"public_key_file"`
	Algorithm     string `koanf:"algorithm"`
	// JWKS are addresses of keys.
	JWKS []string `koanf:"jwks"`
	// PhoenixSecret is a secret_key_base, for tokens of Phoenix.Token.
	PhoenixSecret string        `koanf:"phoenix_secret"`
	PhoenixSalt   string        `koanf:"phoenix_salt"`
	PhoenixMaxAge time.Duration `koanf:"phoenix_max_age"`

	Issuer   string        `koanf:"issuer"`
	Audience []string      `koanf:"audience"`
	Leeway   time.Duration `koanf:"leeway"`
	NoExpiry bool          `koanf:"no_expiry"`

	From  []string `koanf:"from"`
	Param string   `koanf:"param"`

	SocketID     string   `koanf:"socket_id"`
	User         string   `koanf:"user"`
	Join         []string `koanf:"join"`
	Publish      []string `koanf:"publish"`
	JoinClaim    string   `koanf:"join_claim"`
	PublishClaim string   `koanf:"publish_claim"`

	Warning time.Duration `koanf:"warning"`
}

// Enabled reports whether clients need a token.
func (a Auth) Enabled() bool {
	return a.Secret != "" || a.PublicKeyFile != "" || len(a.JWKS) > 0 || a.PhoenixSecret != ""
}

// TLS names the files of a certificate and its key: both or none are set.
type TLS struct {
	Cert string `koanf:"cert"`
	Key  string `koanf:"key"`
	// Clear says what becomes of requests without TLS where there is TLS: one of
	// redirect, refuse and allow.
	Clear string `koanf:"clear"`
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
