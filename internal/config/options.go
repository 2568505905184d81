package config

import (
	"strings"
	"time"
)

// option is one row of the table: everything that is known about a setting.
type option struct {
	// key is the option's name and its place in a file, sections before a dot.
	key string
	// kind reads and checks values and says in words which are right.
	kind kind
	// def and example are written as a user would write them.
	def, example string
	// unit is what a number counts; sizes and durations are written with theirs.
	unit string
	help string
	// also are words that people try for it, for the suggestions of errors.
	also []string
	// secret values are never printed.
	secret bool
	// guards options are what clients are checked by, or kept from readers on
	// the way: empty, where it is given, is no way to leave it out. Most likely
	// a variable was not set that was to fill it.
	guards bool
	// live options are taken over from a configuration that is loaded again
	// while the server runs; the others need a restart.
	live bool
}

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

// options is the table, in the order of the help text. A new option is a row
// here and a field of Config.
var options = []*option{
	{
		key: "listen", kind: text("ADDRESS", "[HOST]:PORT", checkAddress),
		def: ":4000", example: "127.0.0.1:4000",
		help: "Address of the one port: sockets, pages and everything else over HTTP.",
		also: []string{"port", "address", "addr", "bind", "host", "http"},
	},
	{
		key: "path", kind: text("PATH", "a path that begins with / and does not end with it", checkPath),
		def: "/socket", example: "/socket",
		help: "Where the socket is mounted. Clients are given the address with it: new Socket(\"ws://host:4000/socket\").",
		also: []string{"mount", "socket"},
	},
	{
		key: "data", kind: text("DIRECTORY", "the path of a directory, which is made if there is none", nil),
		def: "", example: "/var/lib/mycelium",
		help: "Directory where instances are kept, for one server at a time. Empty: in memory, so that they end with the server.",
		also: []string{"data-dir", "dir", "store", "database", "db"},
	},
	{
		key: "topics", live: true, kind: list("PATTERNS", "one or more topic patterns, exact or with one * at the end", 1, checkPattern),
		def: "*", example: "room:*,lobby",
		help: "Topics that the relay serves. A topic that begins with \"phoenix\" is never served.",
		also: []string{"topic", "patterns", "channels"},
	},
	{
		key: "check_origin", live: true, kind: originKind,
		def: string(OriginHost), example: "//example.com,https://*.example.com",
		help: "Which pages may connect. host: those of the host that is connected to, from any port. conn: those of its host and port. off: all. " +
			"Else a list of origins; //host allows every scheme and port of the host. Apps that are pages have origins of their own, such as " +
			"capacitor://localhost, ionic://localhost and tauri://localhost; pages from files have file:// or null, and so may pages of anybody. " +
			"Clients that send no Origin, such as native apps and servers, are not concerned.",
		also: []string{"origin", "origins", "cors", "allowed-origins"},
	},
	{
		key: "trusted_proxies", kind: list("ADDRESSES", "IP addresses or networks", 0, checkNetwork),
		def: "", example: "127.0.0.1,10.0.0.0/8",
		help: "Reverse proxies whose X-Forwarded-For header names the client's address, for limits by address and for the log. " +
			"Each must append to the header or replace it: see the guide to proxies. Empty: none is believed.",
		also: []string{"proxies", "trust-proxy", "forwarded", "real-ip", "x-forwarded-for", "remote-ip"},
	},
	{
		key: "idle_timeout", live: true, kind: duration(time.Second, day),
		def: "60s", example: "60s",
		help: "How long a client may be silent before it is disconnected. Clients send a heartbeat every 30 seconds.",
		also: []string{"timeout", "idle", "heartbeat"},
	},
	{
		key: "long_poll", live: true, kind: boolean,
		def: "true", example: "false",
		help: "Serve long polling too, for clients whose proxies break WebSockets: phoenix.js falls back to it with longPollFallbackMs.",
		also: []string{"longpoll", "long-polling", "polling"},
	},
	{
		key: "long_poll_window", live: true, kind: duration(time.Second, 5*time.Minute),
		def: "10s", example: "5s",
		help: "How long a request of long polling waits for messages. A proxy in front must wait longer, and phoenix.js waits for 20s. " +
			"Over HTTP/1.1 each tab holds one of the browser's six connections to the host that long: a shorter window lets others through.",
		also: []string{"poll-window", "long-poll-timeout", "longpoll-window"},
	},
	{
		key: "long_poll_grace", live: true, kind: duration(100*time.Millisecond, 5*time.Minute),
		def: "3s", example: "10s",
		help: "How long a client on long polling stays in its channels after it closed the connection of a waiting request, " +
			"as a browser does with a page that is closed. After a request that was answered it has one and a half windows.",
		also: []string{"poll-grace", "longpoll-grace"},
	},
	{
		key: "compress", live: true, kind: boolean,
		def: "false", example: "true",
		help: "Compress messages of 512 bytes and more for clients that offer it (permessage-deflate), as browsers do. " +
			"It saves half of the bytes and more, and costs CPU.",
		also: []string{"compression", "deflate", "permessage-deflate", "gzip"},
	},
	{
		key: "loops", kind: number(0, 1024),
		def: "0", example: "4", unit: "event loops",
		help: "Number of event loops. 0: one a core.",
		also: []string{"threads", "workers", "cores"},
	},
	{
		key: "io_uring", kind: oneOf("auto", "on", "off"),
		def: "auto", example: "off",
		help: "Send through Linux's io_uring: a fan-out costs a fifth less CPU. " +
			"auto: where the system allows it, which most containers do not; on: do not start without it.",
		also: []string{"uring", "iouring"},
	},

	{
		key: "log.level", live: true, kind: oneOf("debug", "info", "warn", "error", "off"),
		def: "info", example: "debug",
		help: "The least important lines that are logged. debug has each connect, join and event, with its duration.",
		also: []string{"level", "verbose", "verbosity", "loglevel"},
	},
	{
		key: "log.format", kind: oneOf("auto", "text", "json"),
		def: "auto", example: "json",
		help: "Form of the lines. auto: text on a terminal, JSON elsewhere.",
		also: []string{"format"},
	},

	{
		key: "limits.max_message", live: true, kind: size(kib, gib),
		def: "1MiB", example: "256KiB",
		help: "Largest message that a client may send; a larger one closes its socket with 1009.",
		also: []string{"max-frame-size", "message-size", "message-bytes", "max-message-bytes"},
	},
	{
		key: "limits.max_connections", live: true, kind: number(0, 1<<31-1),
		def: "0", example: "100000", unit: "connections",
		help: "Most connections at a time; one more is closed at once. 0: unlimited.",
		also: []string{"connections", "max-clients"},
	},
	{
		key: "limits.max_connections_per_address", live: true, kind: number(0, 1<<31-1),
		def: "0", example: "1000", unit: "connections",
		help: "Most connections of one IP address. 0: unlimited. " +
			"Behind a reverse proxy set trusted_proxies too: else all clients share the proxy's address.",
		also: []string{"max-connections-per-ip"},
	},
	{
		key: "limits.address_share", live: true, kind: number(1, 100),
		def: "25", example: "50", unit: "percent",
		help: "How much of limits.max_connections one public IP address may have (IPv6 by /64), in percent of what the others leave, " +
			"so that a few clients cannot use it up. Addresses of this machine and of private networks, which may be those of proxies, have all of it unless trusted_proxies is set. 100: no shares.",
		also: []string{"connection-share", "fair-share", "share"},
	},
	{
		key: "limits.handshakes_per_second", live: true, kind: number(0, 10_000_000),
		def: "0", example: "5000", unit: "handshakes a second",
		help: "Rate at which sockets are admitted; above it a handshake is answered with 503. 0: unlimited.",
		also: []string{"connections-per-second", "connect-rate"},
	},
	{
		key: "limits.max_channels", live: true, kind: number(1, 1_000_000),
		def: "100", example: "100", unit: "channels",
		help: "Most channels that one socket may have joined.",
		also: []string{"channels-per-socket", "max-channels-per-transport", "max-channels-per-socket"},
	},
	{
		key: "limits.socket_bytes", live: true, kind: size(16*kib, gib),
		def: "256KiB", example: "1MiB",
		help: "Most bytes that the channels of one socket keep: topics, presence keys and metas. A join beyond it is refused; it is looked at with every eighth channel.",
		also: []string{"channel-bytes", "topic-bytes", "presence-bytes"},
	},
	{
		key: "limits.joins_per_second", live: true, kind: number(0, 10_000_000),
		def: "200", example: "200", unit: "joins a second",
		help: "Rate of joins of one socket, with a burst of one second's worth. " +
			"A client joins all its channels again when it reconnects. 0: unlimited.",
		also: []string{"joins", "join-rate"},
	},
	{
		key: "limits.messages_per_second", live: true, kind: number(0, 10_000_000),
		def: "1000", example: "100", unit: "messages a second",
		help: "Rate of messages of one socket, with a burst of one second's worth. 0: unlimited.",
		also: []string{"messages", "message-rate", "rate-limit"},
	},
	{
		key: "limits.heartbeats_per_second", live: true, kind: number(0, 65535),
		def: "1000", example: "10", unit: "answers a second",
		help: "Rate of the work that one socket causes beside its messages: heartbeats, pings, what the other rates refuse, " +
			"fragments of less than 1 KiB, and every 4 KiB that a message inflates to beyond 100 times its size. " +
			"A socket above it is not read for a while. Clients send a heartbeat every 30 seconds, \"mycelium bench echo\" many. 0: unlimited.",
		also: []string{"heartbeats", "heartbeat-rate", "pings", "pings-per-second"},
	},
	{
		key: "limits.bytes_per_second", live: true, kind: size(0, gib),
		def: "0", example: "1MiB",
		help: "Rate of the bytes of one socket's messages, with a burst of one second's worth: " +
			"a larger message is never taken. A socket that sends more than twice as much, of whatever kind, is not read for a while. 0: unlimited.",
		also: []string{"bytes", "byte-rate", "bandwidth"},
	},
	{
		key: "limits.total_joins_per_second", live: true, kind: number(0, 10_000_000),
		def: "0", example: "5000", unit: "joins a second",
		help: "Rate of joins of all sockets of one instance together. 0: unlimited.",
		also: []string{"total-joins"},
	},
	{
		key: "limits.total_messages_per_second", live: true, kind: number(0, 10_000_000),
		def: "0", example: "20000", unit: "messages a second",
		help: "Rate of messages of all sockets of one instance together. 0: unlimited.",
		also: []string{"total-messages"},
	},
	{
		key: "limits.total_bytes_per_second", live: true, kind: size(0, gib),
		def: "0", example: "64MiB",
		help: "Rate of the bytes of the messages of all sockets of one instance together. 0: unlimited.",
		also: []string{"total-bytes"},
	},
	{
		key: "limits.outbound_bytes", kind: size(64*kib, gib),
		def: "4MiB", example: "8MiB",
		help: "Most that may wait to be written to one connection. The largest message must fit.",
		also: []string{"outbound", "queue-size"},
	},
	{
		key: "limits.send_buffer", kind: size(0, 64*mib),
		def: "0", example: "128KiB",
		help: "What the kernel keeps for one connection that does not read, besides outbound_bytes; Linux keeps twice as much. 0: the kernel's choice, up to 4 MiB.",
		also: []string{"sndbuf", "so-sndbuf", "socket-buffer", "write-buffer"},
	},
	{
		key: "limits.slow_receiver", kind: oneOf("disconnect", "drop_oldest", "drop_newest"),
		def: "disconnect", example: "drop_oldest",
		help: "What happens to a connection that takes its messages too slowly: it ends, or what waits longest or came last is dropped.",
		also: []string{"slow", "overflow", "slow-consumer"},
	},
	{
		key: "limits.header_bytes", kind: size(kib, mib),
		def: "16KiB", example: "32KiB",
		help: "Largest head of an HTTP request, cookies and tokens included. Above it, or with more than 100 header fields, the answer is 431.",
		also: []string{"max-header-bytes", "header-size"},
	},
	{
		key: "limits.handshake_timeout", kind: duration(100*time.Millisecond, day),
		def: "10s", example: "10s",
		help: "How long a client has to send the head of a request, and how long it may pause in sending a body or in reading an answer.",
		also: []string{"handshake", "read-header-timeout"},
	},

	{
		key: "presence.window", kind: duration(0, time.Minute),
		def: "0s", example: "50ms",
		help: "How long changes of presence are gathered into one diff. 0s: each is sent at once, as Phoenix does.",
		also: []string{"window", "presence-diff-window"},
	},
	{
		key: "presence.off", live: true, kind: list("PATTERNS", "topic patterns, exact or with one * at the end", 0, checkPattern),
		def: "", example: "ticker:*",
		help: "Topics without presence: nobody is tracked and no list is sent. " +
			"For topics of thousands, where every list names everybody.",
		also: []string{"no-presence", "presence-disabled"},
	},
	{
		key: "presence.diffs_off", live: true, kind: list("PATTERNS", "topic patterns, exact or with one * at the end", 0, checkPattern),
		def: "", example: "stage:*",
		help: "Topics whose clients are not told who comes and goes: they get the list when they join, and no diffs.",
		also: []string{"diffs", "presence-diffs", "no-diffs"},
	},

	{
		key: "drain.batch", kind: number(1, 1<<31-1),
		def: "10000", example: "1000", unit: "sockets",
		help: "When the server stops: how many sockets are closed at a time, so that the next one is not stormed.",
		also: []string{"batch", "drain-batch-size", "batch-size"},
	},
	{
		key: "drain.interval", kind: duration(0, time.Hour),
		def: "2s", example: "500ms",
		help: "When the server stops: the pause between two batches.",
		also: []string{"interval", "drain-batch-interval"},
	},
	{
		key: "drain.timeout", kind: duration(0, day),
		def: "30s", example: "30s",
		help: "When the server stops: after this time it ends, whatever is still open.",
		also: []string{"shutdown-timeout", "shutdown", "grace-period"},
	},
	{
		key: "drain.delay", kind: duration(0, time.Hour),
		def: "0s", example: "5s",
		help: "When the server is told to stop: how long it goes on as before while /readyz says 503, " +
			"so that a load balancer sends nobody any more.",
		also: []string{"delay", "lame-duck", "pre-stop"},
	},
	{
		key: "drain.close_frame", kind: boolean,
		def: "true", example: "false",
		help: "When the server stops: send a Close frame (1012). With false the TCP connection just ends; " +
			"Swift clients reconnect only then.",
		also: []string{"close-frame"},
	},

	{
		key: "api.enabled", kind: boolean,
		def: "true", example: "false",
		help: "Serves the HTTP API at /api and the observer, for those who have a key. " +
			"Keys are possible in a file only, as api.keys: \"mycelium key new\" prints one and its lines. " +
			"Without any, the server makes one for each run, which \"mycelium key show\" prints.",
		also: []string{"api", "http-api", "admin"},
	},
	{
		key: "api.public_url", live: true, kind: text("URL", "an http or https URL", checkPublicURL),
		def: "", example: "https://example.com/realtime",
		help: "Where clients reach the server from outside, with the path of a reverse proxy if it has one: socket_url in answers of the API begins with it. Empty: the host that the request was sent to.",
		also: []string{"public-url", "url", "external-url", "base-url"},
	},
	{
		key: "api.private_jwks", live: true, kind: boolean,
		def: "false", example: "true",
		help: "Lets the auth of instances have jwks on this machine and in private networks: whoever may create instances makes the server ask there.",
		also: []string{"private-jwks", "jwks-private", "internal-jwks"},
	},

	{
		key: "metrics.listen", kind: text("ADDRESS", "[HOST]:PORT", checkOptionalAddress),
		def: "", example: "127.0.0.1:9090",
		help: "Address of a port of its own for /metrics, which then is not on the main port; /healthz and /readyz are on both.",
		also: []string{"metrics", "metrics-port", "metrics-addr", "prometheus"},
	},
	{
		key: "metrics.allow", live: true, kind: list("ADDRESSES", "IP addresses or networks", 0, checkNetwork),
		def: "", example: "10.0.0.0/8,::1",
		help: "Who may read /metrics on the port of metrics.listen without a token or key: the address that connects, " +
			"if it asks for an address or localhost and did not come through a proxy.",
		also: []string{"metrics-allowed", "allow"},
	},
	{
		key: "metrics.token", live: true, kind: text("TOKEN", "16 or more letters, digits and marks without spaces", checkToken),
		def: "", example: "Vb0eS1y8cXoQ4kTn", secret: true,
		help: "Whoever sends it as a bearer token may read /metrics. So may an API key with scope read.",
		also: []string{"metrics-key", "metrics-bearer-token"},
	},

	{
		key: "auth.secret", live: true, guards: true, kind: text("SECRET", "32 bytes or more", nil),
		def: "", example: "a-secret-of-32-bytes-at-the-least", secret: true,
		help: "Clients need a JSON Web Token that was signed with this secret.",
		also: []string{"jwt-secret", "jwt", "auth"},
	},
	{
		key: "auth.public_key_file", live: true, guards: true, kind: text("FILE", "the path of a PEM file", checkFileName),
		def: "", example: "/etc/mycelium/jwt.pem",
		help: "Clients need a JSON Web Token that was signed with the private key to this public one.",
		also: []string{"public-key", "jwt-public-key"},
	},
	{
		key: "auth.algorithm", live: true, kind: text("ALGORITHM", "one of "+strings.Join(algorithms, ", "), checkAlgorithm),
		def: "HS256", example: "RS256",
		help: "The algorithm of auth.secret or auth.public_key_file; a token of any other is refused.",
		also: []string{"alg", "algorithm", "jwt-algorithm"},
	},
	{
		key: "auth.jwks", live: true, guards: true, kind: list("URLS", "addresses that begin with https://", 0, checkURL),
		def: "", example: "https://example.com/.well-known/jwks.json",
		help: "Clients need a JSON Web Token that was signed with one of the keys at these addresses.",
		also: []string{"jwks", "jwks-url", "jwks-uri"},
	},
	{
		key: "auth.phoenix_secret", live: true, guards: true, kind: text("SECRET", "the secret_key_base of a Phoenix application", nil),
		def: "", example: "the-secret-key-base-of-an-application", secret: true,
		help: "Clients need a token that a Phoenix application signed by Phoenix.Token.",
		also: []string{"secret-key-base", "phoenix-token"},
	},
	{
		key: "auth.phoenix_salt", live: true, kind: text("SALT", "the salt that the application signs with", nil),
		def: "user socket", example: "user socket",
		help: "The salt of auth.phoenix_secret.",
		also: []string{"salt"},
	},
	{
		key: "auth.phoenix_max_age", live: true, kind: duration(0, 3650*day),
		def: "0s", example: "24h",
		help: "How long tokens of auth.phoenix_secret count. 0s: as they say themselves.",
		also: []string{"max-age"},
	},
	{
		key: "auth.issuer", live: true, kind: text("ISSUER", "what the claim iss must be", nil),
		def: "", example: "https://example.com/",
		help: "The issuer of JSON Web Tokens that count.",
		also: []string{"issuer", "iss"},
	},
	{
		key: "auth.audience", live: true, kind: list("AUDIENCES", "what the claim aud must have one of", 0, checkAny),
		def: "", example: "chat",
		help: "The audiences of JSON Web Tokens that count.",
		also: []string{"audience", "aud"},
	},
	{
		key: "auth.leeway", live: true, kind: duration(0, time.Hour),
		def: "5s", example: "5s",
		help: "How far the clocks of this machine and of whoever signs may be apart.",
		also: []string{"leeway", "clock-skew"},
	},
	{
		key: "auth.no_expiry", live: true, kind: boolean,
		def: "false", example: "true",
		help: "Accept tokens that never expire.",
	},
	{
		key: "auth.from", live: true, kind: list("PLACES", "params, auth_token or both", 1, checkPlace),
		def: "params,auth_token", example: "auth_token",
		help: "Where clients put their token: in the connect params, or where phoenix.js puts its option authToken.",
	},
	{
		key: "auth.param", live: true, kind: text("NAME", "the name of a connect param", checkAny),
		def: "token", example: "token",
		help: "The connect param that has the token.",
		also: []string{"token-param"},
	},
	{
		key: "auth.socket_id", live: true, kind: text("TEMPLATE", "a text with a claim in braces", nil),
		def: "", example: "users_socket:{sub}",
		help: "The id of a client's socket, by which it can be disconnected.",
		also: []string{"socket-id"},
	},
	{
		key: "auth.user", live: true, kind: text("CLAIM", "the name of a claim", checkAny),
		def: "sub", example: "sub",
		help: "The claim under which a client is seen in presences, in place of what it says itself.",
		also: []string{"user-claim"},
	},
	{
		key: "auth.join", live: true, kind: list("PATTERNS", "topic patterns, exact or with one * at the end, and with claims in braces", 0, checkAny),
		def: "", example: "room:*,user:{sub}",
		help: "Topics that every client with a token may join, besides those that its token allows.",
	},
	{
		key: "auth.publish", live: true, kind: list("PATTERNS", "topic patterns, exact or with one * at the end, and with claims in braces", 0, checkAny),
		def: "", example: "room:*",
		help: "Topics that every client with a token may push to, besides those that its token allows.",
	},
	{
		key: "auth.join_claim", live: true, kind: text("CLAIM", "the name of a claim", checkAny),
		def: "channels.join", example: "topics",
		help: "The claim of a token that has the patterns of topics that it allows to join.",
	},
	{
		key: "auth.publish_claim", live: true, kind: text("CLAIM", "the name of a claim", checkAny),
		def: "channels.publish", example: "topics",
		help: "The claim of a token that has the patterns of topics that it allows to push to.",
	},
	{
		key: "auth.warning", live: true, kind: duration(0, day),
		def: "60s", example: "5m",
		help: "How long before the end of its token a client is told. 0s: it is not told.",
	},

	{
		key: "tls.cert", live: true, guards: true, kind: text("FILE", "the path of a PEM file", checkFileName),
		def: "", example: "/etc/mycelium/cert.pem",
		help: "Certificate chain, for TLS on the same port. Needs tls.key too.",
		also: []string{"cert", "certificate", "certfile", "tls-certificate"},
	},
	{
		key: "tls.key", live: true, guards: true, kind: text("FILE", "the path of a PEM file", checkFileName),
		def: "", example: "/etc/mycelium/key.pem", secret: true,
		help: "Private key of the certificate.",
		also: []string{"key", "keyfile", "private-key"},
	},
	{
		key: "tls.clear", kind: oneOf("redirect", "refuse", "allow"),
		def: "redirect", example: "refuse",
		help: "What becomes of requests without TLS on a port that has it. redirect: pages are sent to https, and what may carry secrets is refused: " +
			"sockets, requests with a key or a body. refuse: all are refused. allow: all are answered as over TLS.",
		also: []string{"clear", "cleartext", "plaintext", "redirect", "force-ssl", "https"},
	},

	{
		key: "cluster.name", kind: text("NAME", "1 to 64 letters, digits, _ and -", checkClusterName),
		def: "", example: "prod",
		help: "Joins the cluster of this name, the same on all nodes: broadcasts reach the clients of all of them. " +
			"Needs cluster.listen or cluster.nats_url. Empty: this is a single node.",
		also: []string{"cluster", "join"},
	},
	{
		key: "cluster.node", kind: text("NAME", "1 to 128 letters, digits, dots, _ and -", checkNodeName),
		def: "", example: "node-1",
		help: "The name of this node, which no other has at the same time; one that is restarted keeps it. Empty: the name of the machine.",
		also: []string{"node", "node-name", "server-name"},
	},
	{
		key: "cluster.listen", kind: text("ADDRESS", "[HOST]:PORT", checkOptionalAddress),
		def: "", example: ":6222",
		help: "Address where the other nodes connect, for a cluster without a NATS server of its own: each node has one built in. Needs cluster.secret_file.",
		also: []string{"cluster-port", "cluster-addr", "cluster-bind"},
	},
	{
		key: "cluster.routes", kind: list("URLS", "addresses such as nats://HOST:PORT", 0, checkRoute),
		def: "", example: "nats://node-1:6222,nats://node-2:6222",
		help: "The cluster.listen of other nodes. One that is reached tells of the others; this node's own may be among them, so that all can have the same list.",
		also: []string{"routes", "route", "peers", "seeds", "nodes", "join-addresses"},
	},
	{
		key: "cluster.secret_file", guards: true, kind: text("FILE", "the path of a file with 32 bytes or more", checkFileName),
		def: "", example: "/etc/mycelium/cluster.secret",
		help: "File with a secret that all nodes have, and nobody else: they know each other by it, and encrypt what they say (TLS 1.3). " +
			"\"openssl rand -hex 32\" makes one.",
		also: []string{"cookie", "cluster-secret", "cluster-key"},
	},
	{
		key: "cluster.insecure", kind: boolean,
		def: "false", example: "true",
		help: "Does without encryption between the nodes: on one machine, or where the network encrypts. The secret is still asked for.",
		also: []string{"insecure", "cluster-plaintext"},
	},
	{
		key: "cluster.nats_url", kind: list("URLS", "addresses such as tls://HOST:4222", 0, checkNATS),
		def: "", example: "tls://nats-1:4222,tls://nats-2:4222",
		help: "NATS servers that connect the nodes, in place of cluster.listen: addresses of one NATS cluster.",
		also: []string{"nats-url", "nats", "nats-server", "nats-servers"},
	},
	{
		key: "cluster.nats_creds", guards: true, kind: text("FILE", "the path of a credentials file", checkFileName),
		def: "", example: "/etc/mycelium/nats.creds",
		help: "Credentials for cluster.nats_url, as \"nsc\" makes them. They must allow to publish and subscribe to mycelium.NAME.>, with the cluster's name.",
		also: []string{"nats-creds", "creds", "credentials"},
	},
	{
		key: "cluster.nats_ca", guards: true, kind: text("FILE", "the path of a PEM file", checkFileName),
		def: "", example: "/etc/mycelium/nats-ca.pem",
		help: "Certificates of those who sign for the servers of cluster.nats_url. Empty: those that the system trusts.",
		also: []string{"nats-ca", "nats-tls-ca"},
	},
	{
		key: "cluster.nats_cert", guards: true, kind: text("FILE", "the path of a PEM file", checkFileName),
		def: "", example: "/etc/mycelium/nats-cert.pem",
		help: "Certificate that this node shows to the servers of cluster.nats_url. Needs cluster.nats_key too.",
		also: []string{"nats-cert", "nats-tls-cert"},
	},
	{
		key: "cluster.nats_key", guards: true, kind: text("FILE", "the path of a PEM file", checkFileName),
		def: "", example: "/etc/mycelium/nats-key.pem", secret: true,
		help: "Private key of cluster.nats_cert.",
		also: []string{"nats-key", "nats-tls-key"},
	},
	{
		key: "cluster.size", kind: number(0, 1000),
		def: "0", example: "3", unit: "nodes",
		help: "How many nodes the cluster has, for /readyz of a node that starts: it waits for that many, itself included, but not longer than 5s if it reaches none. " +
			"0: it waits for one other.",
		also: []string{"size", "replicas", "cluster-nodes", "expect"},
	},
}

// algorithms are those of JSON Web Tokens.
var algorithms = []string{
	"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
}

const day = 24 * time.Hour

// envPrefix begins the name of each variable that belongs to the server.
const envPrefix = "MYCELIUM_"

// flag returns the option's flag without its dashes: limits-max-channels.
func (o *option) flag() string {
	return strings.NewReplacer(".", "-", "_", "-").Replace(o.key)
}

// env returns the option's variable: MYCELIUM_LIMITS_MAX_CHANNELS.
func (o *option) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(o.key, ".", "_"))
}

// words is text as the kind reads it: cut at commas where a list is wanted.
func (o *option) words(text string) []string {
	if !o.kind.list {
		return []string{text}
	}
	if strings.TrimSpace(text) == "" {
		return []string{}
	}
	words := strings.Split(text, ",")
	for i := range words {
		words[i] = strings.TrimSpace(words[i])
	}
	return words
}
