package config

import (
	"strings"
	"time"
)

// option is one row of the table: everything that is known about a setting.
type option struct {
	// key is the option's name and its place in a file: the section and a dot come
	// first. Flag, variable and the field of Config have the same name, in their forms.
	key string
	// kind reads and checks values and says in words which are right.
	kind kind
	// def and example are written as a user would write them.
	def, example string
	// unit is what a number counts; sizes and durations are written with theirs.
	unit string
	// help says what the option does, and zero what 0 means where that is not just
	// an amount of nothing. Both are true of an instance too if spec is set; note is
	// for whoever runs the server.
	help, zero, note string
	// also are words that people try for it, for the suggestions of errors.
	also []string
	// secret values are never printed.
	secret bool
	// guards options authenticate clients or encrypt their traffic. They may be
	// left out, but not set to an empty value: most likely a variable that was to
	// fill it was not set.
	guards bool
	// live options take effect when the configuration is reloaded while the
	// server runs; the others need a restart.
	live bool
	// spec options are limits that the spec of an instance may have too:
	// instances/limits_fields.go is made from their rows.
	spec bool
}

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

// options is the table, in the order of the help text. A new option is a row
// here and a field of Config that has the name of its key in Go's form. The
// fields of limits are those of channels.Limits.
var options = []*option{
	{
		key: "listen", kind: text("ADDRESS", "[HOST]:PORT", checkAddress),
		def: ":4000", example: "127.0.0.1:4000",
		help: "The address of the server's one port, for sockets, pages and everything else over HTTP.",
		also: []string{"port", "address", "addr", "bind", "host", "http"},
	},
	{
		key: "tcp_listen", kind: text("ADDRESS", "[HOST]:PORT", checkOptionalAddress),
		def: "", example: ":4001",
		help: "The address of a port for raw TCP, for devices and programs without a WebSocket stack: messages with a length before them, in the clear and, " +
			"with tls.cert, over TLS. See the guide to raw TCP. Empty: there is none.",
		also: []string{"tcp", "tcp-port", "tcp-address", "raw", "raw-tcp", "socket-port"},
	},
	{
		key: "path", kind: text("PATH", "a path that begins with / and does not end with it", checkPath),
		def: "/socket", example: "/socket",
		help: "Where the socket is mounted. Clients connect to the address with this path: new Socket(\"ws://host:4000/socket\").",
		also: []string{"mount", "socket"},
	},
	{
		key: "data", kind: text("DIRECTORY", "the path of a directory, which is created if it does not exist", nil),
		def: "", example: "/var/lib/mycelium",
		help: "The directory in which instances are kept. Only one server at a time can use it. Empty: instances are kept in memory and end with the server.",
		also: []string{"data-dir", "dir", "store", "database", "db"},
	},
	{
		key: "dialect", kind: oneOf(DialectPhoenix, DialectRealtime),
		def: DialectPhoenix, example: DialectRealtime,
		help: "The clients of the default instance. phoenix: those of Phoenix Channels, which the relay serves. realtime: those of Supabase, such as " +
			"supabase-js, which connect to the same path and to /realtime/v1; the options of the section realtime are for them, and topics is not.",
		also: []string{"protocol", "supabase", "type"},
	},
	{
		key: "topics", live: true, kind: list("PATTERNS", "one or more topic patterns, exact or with one * at the end", 1, checkPattern),
		def: "*", example: "room:*,lobby",
		help: "The topics that the relay serves. A topic that begins with \"phoenix\" is never served.",
		also: []string{"topic", "patterns", "channels"},
	},
	{
		key: "check_origin", live: true, kind: originKind,
		def: string(OriginHost), example: "//example.com,https://*.example.com",
		help: "The pages that may connect. host: pages from the host they connect to, on any port. conn: pages from the same host and port. off: all pages. " +
			"Otherwise a list of origins; //host allows every scheme and port of a host. Apps built from web pages have origins of their own, such as " +
			"capacitor://localhost, ionic://localhost and tauri://localhost. Pages opened from files send file:// or null, but so can anybody's pages. " +
			"Clients that send no Origin, such as native apps and servers, are always allowed.",
		also: []string{"origin", "origins", "cors", "allowed-origins"},
	},
	{
		key: "trusted_proxies", kind: list("ADDRESSES", "IP addresses or networks", 0, checkNetwork),
		def: "", example: "127.0.0.1,10.0.0.0/8",
		help: "Reverse proxies whose X-Forwarded-For header names the client's address, for limits by address and for the log. " +
			"Each must append to the header or replace it: see the guide to proxies. Empty: the header is ignored.",
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
		help: "Serve long polling as well as WebSockets, for clients behind proxies that break WebSockets: phoenix.js falls back to it with longPollFallbackMs.",
		also: []string{"longpoll", "long-polling", "polling"},
	},
	{
		key: "long_poll_window", live: true, kind: duration(time.Second, 5*time.Minute),
		def: "10s", example: "5s",
		help: "How long a long-poll request waits for messages. A proxy in front must wait longer, and phoenix.js waits for 20s. " +
			"Over HTTP/1.1 a waiting request occupies one of the browser's six connections to the host: a shorter window lets other requests through.",
		also: []string{"poll-window", "long-poll-timeout", "longpoll-window"},
	},
	{
		key: "long_poll_grace", live: true, kind: duration(100*time.Millisecond, 5*time.Minute),
		def: "3s", example: "10s",
		help: "How long a long-poll client stays in its channels after it closes the connection of a waiting request, or before " +
			"it has taken an answer, as a browser does when a page is closed. After a request that was answered, the client has one and a half windows.",
		also: []string{"poll-grace", "longpoll-grace"},
	},
	{
		key: "compress", live: true, kind: boolean,
		def: "false", example: "true",
		help: "Compress messages of 512 bytes and more for clients that offer it (permessage-deflate), as browsers do. " +
			"This saves half of the bytes or more, and costs CPU.",
		also: []string{"compression", "deflate", "permessage-deflate", "gzip"},
	},
	{
		key: "loops", kind: number(0, 1024),
		def: "0", example: "4", unit: "event loops",
		help: "The number of event loops.",
		zero: "one for each core",
		also: []string{"threads", "workers", "cores"},
	},
	{
		key: "io_uring", kind: oneOf("auto", "on", "off"),
		def: "auto", example: "off",
		help: "Send through Linux's io_uring, which makes a fan-out cost a fifth less CPU. " +
			"auto: if the system allows it, which most containers do not. on: refuse to start without it.",
		also: []string{"uring", "iouring"},
	},

	{
		key: "log.level", live: true, kind: oneOf("debug", "info", "warn", "error", "off"),
		def: "info", example: "debug",
		help: "The least severe lines that are logged. debug logs each connect, join and event, with its duration.",
		also: []string{"level", "verbose", "verbosity", "loglevel"},
	},
	{
		key: "log.format", kind: oneOf("auto", "text", "json"),
		def: "auto", example: "json",
		help: "The form of log lines. auto: text on a terminal, JSON elsewhere.",
		also: []string{"format"},
	},

	{
		key: "limits.max_message", live: true, spec: true, kind: size(kib, gib),
		def: "1MiB", example: "256KiB",
		help: "The largest message that a client may send; a larger one closes its socket with 1009.",
		also: []string{"max-frame-size", "message-size", "message-bytes", "max-message-bytes"},
	},
	{
		key: "limits.max_connections", live: true, spec: true, kind: number(0, 1<<31-1),
		def: "0", example: "100000", unit: "connections",
		help: "The largest number of connections at a time; more are refused.",
		zero: "unlimited",
		also: []string{"connections", "max-clients"},
	},
	{
		key: "limits.max_connections_per_address", live: true, spec: true, kind: number(0, 1<<31-1),
		def: "0", example: "1000", unit: "connections",
		help: "The largest number of connections at a time from one IP address.",
		zero: "unlimited",
		note: "Behind a reverse proxy set trusted_proxies too: otherwise all clients share the proxy's address.",
		also: []string{"max-connections-per-ip"},
	},
	{
		key: "limits.address_share", live: true, kind: number(1, 100),
		def: "25", example: "50", unit: "percent",
		help: "How much of limits.max_connections one public IP address (of IPv6, one /64) may use, in percent of what the others leave, " +
			"so that a few clients cannot use it up. Addresses of this machine and of private networks may be those of proxies, and are not limited by it unless trusted_proxies is set. 100: no address is.",
		also: []string{"connection-share", "fair-share", "share"},
	},
	{
		key: "limits.handshakes_per_second", live: true, spec: true, kind: number(0, 10_000_000),
		def: "0", example: "5000", unit: "handshakes a second",
		help: "The highest rate at which sockets are admitted; above it a handshake is answered with 503.",
		zero: "unlimited",
		also: []string{"connections-per-second", "connect-rate"},
	},
	{
		key: "limits.max_channels", live: true, spec: true, kind: number(1, 1_000_000),
		def: "100", example: "100", unit: "channels",
		help: "The largest number of channels that one socket may have joined at a time.",
		also: []string{"channels-per-socket", "max-channels-per-transport", "max-channels-per-socket"},
	},
	{
		key: "limits.socket_bytes", live: true, kind: size(16*kib, gib),
		def: "256KiB", example: "1MiB",
		help: "The bytes that the channels of one socket may keep: topics, presence keys and metas. A join beyond it is refused; the check is made at every eighth channel.",
		also: []string{"channel-bytes", "topic-bytes", "presence-bytes"},
	},
	{
		key: "limits.joins_per_second", live: true, spec: true, kind: number(0, 10_000_000),
		def: "200", example: "200", unit: "joins a second",
		help: "The highest rate of joins of one socket, with a burst of one second's worth.",
		zero: "unlimited",
		note: "A client joins all its channels again when it reconnects.",
		also: []string{"joins", "join-rate"},
	},
	{
		key: "limits.messages_per_second", live: true, spec: true, kind: number(0, 10_000_000),
		def: "1000", example: "100", unit: "messages a second",
		help: "The highest rate of messages of one socket, with a burst of one second's worth.",
		zero: "unlimited",
		also: []string{"messages", "message-rate", "rate-limit"},
	},
	{
		key: "limits.heartbeats_per_second", live: true, spec: true, kind: number(0, 65535),
		def: "1000", example: "10", unit: "answers a second",
		help: "The highest rate of the work that one socket causes beside its messages: heartbeats, pings, what the other rates refuse, " +
			"fragments of less than 1 KiB, and every 4 KiB that a message inflates to beyond 100 times its size. " +
			"A socket above it is not read for a while.",
		zero: "unlimited",
		note: "Clients send a heartbeat every 30 seconds; \"mycelium bench echo\" sends many.",
		also: []string{"heartbeats", "heartbeat-rate", "pings", "pings-per-second"},
	},
	{
		key: "limits.bytes_per_second", live: true, spec: true, kind: size(0, gib),
		def: "0", example: "1MiB",
		help: "The highest rate of bytes in one socket's messages, with a burst of one second's worth: " +
			"a message larger than that is always refused. A socket that sends more than twice as many bytes of any kind is not read for a while.",
		zero: "unlimited",
		also: []string{"bytes", "byte-rate", "bandwidth"},
	},
	{
		key: "limits.total_joins_per_second", live: true, spec: true, kind: number(0, 10_000_000),
		def: "0", example: "5000", unit: "joins a second",
		help: "The highest rate of joins of all sockets of one instance together.",
		zero: "unlimited",
		also: []string{"total-joins"},
	},
	{
		key: "limits.total_messages_per_second", live: true, spec: true, kind: number(0, 10_000_000),
		def: "0", example: "20000", unit: "messages a second",
		help: "The highest rate of messages of all sockets of one instance together.",
		zero: "unlimited",
		also: []string{"total-messages"},
	},
	{
		key: "limits.total_bytes_per_second", live: true, spec: true, kind: size(0, gib),
		def: "0", example: "64MiB",
		help: "The highest rate of bytes in the messages of all sockets of one instance together.",
		zero: "unlimited",
		also: []string{"total-bytes"},
	},
	{
		key: "limits.outbound_bytes", kind: size(64*kib, gib),
		def: "4MiB", example: "8MiB",
		help: "The bytes that may wait to be written to one connection. The largest message must fit.",
		also: []string{"outbound", "queue-size"},
	},
	{
		key: "limits.send_buffer", kind: size(0, 64*mib),
		def: "0", example: "128KiB",
		help: "The bytes that the kernel may keep for one connection that does not read, in addition to outbound_bytes; Linux keeps twice as many.",
		zero: "the kernel decides, up to 4 MiB",
		also: []string{"sndbuf", "so-sndbuf", "socket-buffer", "write-buffer"},
	},
	{
		key: "limits.slow_receiver", kind: oneOf("disconnect", "drop_oldest", "drop_newest"),
		def: "disconnect", example: "drop_oldest",
		help: "What happens to a connection that reads its messages too slowly: it is closed, or the oldest or newest waiting messages are dropped.",
		also: []string{"slow", "overflow", "slow-consumer"},
	},
	{
		key: "limits.header_bytes", kind: size(kib, mib),
		def: "16KiB", example: "32KiB",
		help: "The largest head of an HTTP request, cookies and tokens included. Above it, or with more than 100 header fields, the answer is 431.",
		also: []string{"max-header-bytes", "header-size"},
	},
	{
		key: "limits.handshake_timeout", kind: duration(100*time.Millisecond, day),
		def: "10s", example: "10s",
		help: "How long a client has to send the head of a request, and how long it may pause while it sends a body or reads an answer.",
		also: []string{"handshake", "read-header-timeout"},
	},
	{
		key: "limits.handshake_wait", live: true, kind: duration(0, 5*time.Minute),
		def: "5s", example: "2s",
		help: "How long clients may wait to be served when more of them come than the machine gets done, as after a restart. Above it new sockets are " +
			"answered with 503, and connections with TLS are closed before their handshake; from half of it on, those of clients without a session. " +
			"Clients that are joined are served first meanwhile.",
		zero: "everybody waits, and all are served in turn",
		note: "phoenix.js waits 10s for the answer to a join: keep it below that.",
		also: []string{"admission", "queue", "handshake-queue", "max-wait"},
	},

	{
		key: "presence.window", kind: duration(0, time.Minute),
		def: "0s", example: "50ms",
		help: "How long changes of presence are gathered into one diff.",
		zero: "each is sent at once, as Phoenix does",
		also: []string{"window", "presence-diff-window"},
	},
	{
		key: "presence.off", live: true, kind: list("PATTERNS", "topic patterns, exact or with one * at the end", 0, checkPattern),
		def: "", example: "ticker:*",
		help: "Topics without presence: nobody is tracked and no list is sent. " +
			"For topics with thousands of clients, where every list would name everybody.",
		also: []string{"no-presence", "presence-disabled"},
	},
	{
		key: "presence.diffs_off", live: true, kind: list("PATTERNS", "topic patterns, exact or with one * at the end", 0, checkPattern),
		def: "", example: "stage:*",
		help: "Topics whose clients get the list when they join, but are not told who comes and goes afterwards.",
		also: []string{"diffs", "presence-diffs", "no-diffs"},
	},

	{
		key: "realtime.keys", live: true, kind: list("KEYS", "API keys", 0, checkAny),
		def: "", example: "sb_publishable_4jTn2",
		help: "API keys with which Supabase's clients may connect and use public channels without a token, if auth needs one. They are in every page, so they are no secrets.",
		also: []string{"apikey", "anon-key", "publishable-key", "api-keys"},
	},
	{
		key: "realtime.private_only", live: true, kind: boolean,
		def: "false", example: "true",
		help: "Refuse public channels of Supabase's clients: only private ones may be joined, as far as auth permits.",
		also: []string{"private"},
	},
	{
		key: "realtime.postgres_changes", live: true, kind: oneOf("refuse", "system_error"),
		def: "refuse", example: "system_error",
		help: "What a channel of Supabase's clients gets that listens to changes of a database, which this server does not deliver. refuse: its join is refused. " +
			"system_error: it joins, and gets a system message that says so.",
		also: []string{"postgres", "cdc", "changes"},
	},
	{
		key: "realtime.payload", live: true, kind: size(1, gib),
		def: "3000500", example: "256KB",
		help: "The largest payload of a broadcast of Supabase's clients. A larger one is dropped, with an error for a client that wants acks.",
		also: []string{"max-payload", "payload-size"},
	},

	{
		key: "history.memory", kind: size(64*kib, 64*gib),
		def: "256MiB", example: "1GiB",
		help: "The memory for recorded messages of all instances; above it the oldest are dropped. " +
			"What is recorded is set in a file, as history.rules, and in the specs of instances, as history. By default nothing is.",
		also: []string{"history", "history-bytes", "recovery", "replay"},
	},
	{
		key: "history.disk", kind: size(1<<20, 64<<40),
		def: "1GiB", example: "20GiB",
		help: "The disk space for messages that are stored before their senders are told that they were sent: those of history.rules with durable. " +
			"While it is used up, such messages are refused. In a cluster all nodes take the same.",
		also: []string{"durable", "history-storage", "history-size"},
	},

	{
		key: "events.outbox", kind: size(16*mib, 1024*gib),
		def: "64MiB", example: "1GiB",
		help: "How many bytes of events that hooks are told wait for them, for each instance: on the disk with data, otherwise in memory. Above it the oldest are dropped, and the hooks are told how many.",
		also: []string{"outbox", "outbox-size", "events-limit", "hooks-outbox"},
	},
	{
		key: "events.max_age", kind: duration(time.Minute, 30*day),
		def: "24h", example: "72h",
		help: "How long a hook that does not take an event is tried. Then the event becomes a dead letter, which mycelium hooks replay sends again.",
		also: []string{"outbox-age", "events-age", "retry-for", "give-up-after"},
	},
	{
		key: "events.kept", kind: size(0, 512*gib),
		def: "8MiB", example: "32MiB",
		help: "How many bytes of events that all hooks have taken are kept for each instance, for replays and for clients that follow events and come back; in memory, without data, an eighth of it. At most half of events.outbox.",
		also: []string{"replay-bytes", "events-kept"},
	},

	{
		key: "drain.batch", kind: number(1, 1<<31-1),
		def: "10000", example: "1000", unit: "sockets",
		help: "When the server stops: how many sockets are closed at a time, so that clients do not all reconnect to the next server at once. Nodes of a cluster that stop at the same time share it.",
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
		help: "When the server stops: the time after which it exits even if connections are still open.",
		also: []string{"shutdown-timeout", "shutdown", "grace-period"},
	},
	{
		key: "drain.delay", kind: duration(0, time.Hour),
		def: "0s", example: "5s",
		help: "When the server is told to stop: how long it keeps serving while /readyz answers 503, " +
			"so that a load balancer stops sending it clients.",
		also: []string{"delay", "lame-duck", "pre-stop"},
	},
	{
		key: "drain.close_frame", kind: boolean,
		def: "true", example: "false",
		help: "When the server stops: send a Close frame (1012). With false only the TCP connection is closed; " +
			"Swift clients reconnect only then.",
		also: []string{"close-frame"},
	},

	{
		key: "api.enabled", kind: boolean,
		def: "true", example: "false",
		help: "Serve the HTTP API at /api and the observer, for holders of a key. " +
			"Keys are set in a file, as api.keys: \"mycelium key new\" prints a key and the lines for it. " +
			"Without any, the server makes one each time it starts, and \"mycelium key show\" prints it.",
		also: []string{"api", "http-api", "admin"},
	},
	{
		key: "api.public_url", live: true, kind: text("URL", "an http or https URL", checkPublicURL),
		def: "", example: "https://example.com/realtime",
		help: "The server's address for clients outside, with the path of a reverse proxy if it has one: socket_url in answers of the API begins with it. Empty: the host that the request was sent to.",
		also: []string{"public-url", "url", "external-url", "base-url"},
	},
	{
		key: "api.private_jwks", live: true, kind: boolean,
		def: "false", example: "true",
		help: "Let the auth of instances fetch jwks from this machine and from private networks. Whoever may create instances can then make the server send requests there.",
		also: []string{"private-jwks", "jwks-private", "internal-jwks"},
	},
	{
		key: "api.private_hooks", live: true, kind: boolean,
		def: "false", example: "true",
		help: "Let the hooks of instances send requests to this machine and to private networks, by http too, and see their clients' cookies and tokens. Whoever may create instances can then do so.",
		also: []string{"private-hooks", "hooks-private", "internal-hooks"},
	},

	{
		key: "api.max_batch", live: true, kind: number(1, 100_000),
		def: "1000", example: "5000",
		help: "The most messages that one request for many broadcasts may have, each counted for each of its topics.",
		also: []string{"max-batch", "max-broadcasts", "broadcasts"},
	},

	{
		key: "metrics.listen", kind: text("ADDRESS", "[HOST]:PORT", checkOptionalAddress),
		def: "", example: "127.0.0.1:9090",
		help: "The address of a separate port for /metrics, which is then not served on the main port; /healthz and /readyz are served on both.",
		also: []string{"metrics", "metrics-port", "metrics-addr", "prometheus"},
	},
	{
		key: "metrics.allow", live: true, kind: list("ADDRESSES", "IP addresses or networks", 0, checkNetwork),
		def: "", example: "10.0.0.0/8,::1",
		help: "The addresses that may read /metrics on the port of metrics.listen without a token or key. A request counts as from the address that connects, " +
			"and only if it names an address or localhost as its host and did not come through a proxy.",
		also: []string{"metrics-allowed", "allow"},
	},
	{
		key: "metrics.token", live: true, kind: text("TOKEN", "16 or more letters, digits and marks without spaces", checkToken),
		def: "", example: "Vb0eS1y8cXoQ4kTn", secret: true,
		help: "A bearer token that permits reading /metrics. An API key with the scope read does too.",
		also: []string{"metrics-key", "metrics-bearer-token"},
	},

	{
		key: "auth.secret", live: true, guards: true, kind: text("SECRET", "32 bytes or more", nil),
		def: "", example: "a-secret-of-32-bytes-at-the-least", secret: true,
		help: "Clients need a JSON Web Token signed with this secret.",
		also: []string{"jwt-secret", "jwt", "auth"},
	},
	{
		key: "auth.public_key_file", live: true, guards: true, kind: text("FILE", "the path of a PEM file", checkFileName),
		def: "", example: "/etc/mycelium/jwt.pem",
		help: "Clients need a JSON Web Token signed with the private key that belongs to this public key.",
		also: []string{"public-key", "jwt-public-key"},
	},
	{
		key: "auth.algorithm", live: true, kind: text("ALGORITHM", "one of "+strings.Join(algorithms, ", "), checkAlgorithm),
		def: "HS256", example: "RS256",
		help: "The algorithm of auth.secret or auth.public_key_file; tokens of any other are refused.",
		also: []string{"alg", "algorithm", "jwt-algorithm"},
	},
	{
		key: "auth.jwks", live: true, guards: true, kind: list("URLS", "addresses that begin with https://", 0, checkURL),
		def: "", example: "https://example.com/.well-known/jwks.json",
		help: "Clients need a JSON Web Token signed with one of the keys at these addresses.",
		also: []string{"jwks", "jwks-url", "jwks-uri"},
	},
	{
		key: "auth.phoenix_secret", live: true, guards: true, kind: text("SECRET", "the secret_key_base of a Phoenix application", nil),
		def: "", example: "the-secret-key-base-of-an-application", secret: true,
		help: "Clients need a token that a Phoenix application signed with Phoenix.Token.",
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
		help: "How long tokens of auth.phoenix_secret are valid.",
		zero: "as long as they say themselves",
		also: []string{"max-age"},
	},
	{
		key: "auth.issuer", live: true, kind: text("ISSUER", "what the claim iss must be", nil),
		def: "", example: "https://example.com/",
		help: "The issuer that JSON Web Tokens must have.",
		also: []string{"issuer", "iss"},
	},
	{
		key: "auth.audience", live: true, kind: list("AUDIENCES", "what the claim aud must have one of", 0, checkAny),
		def: "", example: "chat",
		help: "The audiences of which JSON Web Tokens must have one.",
		also: []string{"audience", "aud"},
	},
	{
		key: "auth.leeway", live: true, kind: duration(0, time.Hour),
		def: "5s", example: "5s",
		help: "How far the clock of this machine and that of the issuer may differ.",
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
		help: "The connect param that holds the token.",
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
		help: "The claim that names a client in presences, in place of the name that the client sends.",
		also: []string{"user-claim"},
	},
	{
		key: "auth.join", live: true, kind: list("PATTERNS", "topic patterns, exact or with one * at the end, and with claims in braces", 0, checkAny),
		def: "", example: "room:*,user:{sub}",
		help: "Topics that every client with a token may join, in addition to those that its token allows.",
	},
	{
		key: "auth.publish", live: true, kind: list("PATTERNS", "topic patterns, exact or with one * at the end, and with claims in braces", 0, checkAny),
		def: "", example: "room:*",
		help: "Topics that every client with a token may push to, in addition to those that its token allows.",
	},
	{
		key: "auth.join_claim", live: true, kind: text("CLAIM", "the name of a claim", checkAny),
		def: "channels.join", example: "topics",
		help: "The claim of a token that lists the patterns of topics that it allows to join.",
	},
	{
		key: "auth.publish_claim", live: true, kind: text("CLAIM", "the name of a claim", checkAny),
		def: "channels.publish", example: "topics",
		help: "The claim of a token that lists the patterns of topics that it allows to push to.",
	},
	{
		key: "auth.only_claim", live: true, kind: text("CLAIM", "the name of a claim", checkAny),
		def: "channels.only", example: "only",
		help: "The claim of a token that lists the patterns of topics that it is limited to, whatever else permits more.",
	},
	{
		key: "auth.warning", live: true, kind: duration(0, day),
		def: "60s", example: "5m",
		help: "How long before its token expires a client is warned.",
		zero: "it is not warned",
	},
	{
		key: "auth.max_revocations", kind: number(1, 10_000_000),
		def: "100000", example: "1000000",
		help: "How many tokens and users may be revoked at a time, about 200 bytes of memory each.",
		also: []string{"max-revocations", "revocations", "revoked"},
	},

	{
		key: "tls.cert", live: true, guards: true, kind: text("FILE", "the path of a PEM file", checkFileName),
		def: "", example: "/etc/mycelium/cert.pem",
		help: "A certificate chain, for TLS on the same port. Needs tls.key too. Both are read again when they have changed.",
		also: []string{"cert", "certificate", "certfile", "tls-certificate"},
	},
	{
		key: "tls.key", live: true, guards: true, kind: text("FILE", "the path of a PEM file", checkFileName),
		def: "", example: "/etc/mycelium/key.pem", secret: true,
		help: "The private key of the certificate.",
		also: []string{"key", "keyfile", "private-key"},
	},
	{
		key: "tls.clear", kind: oneOf("redirect", "refuse", "allow"),
		def: "redirect", example: "refuse",
		help: "What happens to requests without TLS on a port that has it. redirect: pages are redirected to https, and requests that may carry secrets are refused: " +
			"sockets, and requests with a key or a body. refuse: all are refused. allow: all are answered as over TLS.",
		also: []string{"clear", "cleartext", "plaintext", "redirect", "force-ssl", "https"},
	},
	{
		key: "tls.client_ca", live: true, guards: true, kind: text("FILE", "the path of a PEM file", checkFileName),
		def: "", example: "/etc/mycelium/clients.pem",
		help: "Certificates of the authorities that sign for clients, which identify themselves with certificates of their own (mutual TLS).",
		also: []string{"client-ca", "mtls", "mutual-tls", "client-certificate-authority", "ca", "cacert"},
	},
	{
		key: "tls.client_cert", live: true, kind: oneOf("require", "request"),
		def: "require", example: "request",
		help: "What happens to a client without a certificate of tls.client_ca. require: its TLS handshake fails, whatever it asks for. " +
			"request: it is served as well. A wrong certificate is always refused.",
		also: []string{"client-cert", "client-auth", "verify-client", "ssl-verify-client"},
	},
	{
		key: "tls.acme_hosts", guards: true, kind: list("HOSTS", "names of this server such as rt.example.com", 0, checkHost),
		def: "", example: "rt.example.com",
		help: "Obtain certificates for these names from an authority by ACME, in place of tls.cert and tls.key, and renew them. This accepts the authority's terms of service. " +
			"Needs tls.acme_listen on port 80, or that the authority reaches this server at port 443 of each name.",
		also: []string{"acme", "autocert", "letsencrypt", "acme-domains", "domains", "hosts"},
	},
	{
		key: "tls.acme_email", kind: text("ADDRESS", "an e-mail address", checkEmail),
		def: "", example: "ops@example.com",
		help: "Where the authority can reach whoever runs this server.",
		also: []string{"email", "contact", "acme-contact"},
	},
	{
		key: "tls.acme_directory", kind: text("URL", "an address that begins with https://", checkDirectory),
		def: "https://acme-v02.api.letsencrypt.org/directory", example: "https://acme-staging-v02.api.letsencrypt.org/directory",
		help: "The authority.",
		also: []string{"acme-server", "acme-url", "directory-url", "staging"},
	},
	{
		key: "tls.acme_ca", kind: text("FILE", "the path of a PEM file", checkFileName),
		def: "", example: "/etc/mycelium/acme-ca.pem",
		help: "Certificates of the authorities that sign for the server of tls.acme_directory, if it is a private one. Empty: those that the system trusts.",
		also: []string{"acme-ca-file", "acme-root", "acme-cacert"},
	},
	{
		key: "tls.acme_listen", kind: text("ADDRESS", "[HOST]:PORT", checkOptionalAddress),
		def: "", example: ":80",
		help: "A port without TLS that answers the authority (HTTP-01), and redirects pages to https. Empty: it is answered on the main port alone (TLS-ALPN-01).",
		also: []string{"acme-http", "acme-port", "http-01", "acme-address"},
	},
	{
		key: "tls.acme_cache", kind: text("DIRECTORY", "the path of a directory, which is created if it does not exist", nil),
		def: "", example: "/var/lib/mycelium/acme",
		help: "Where certificates of the authority and their keys are kept. Servers with the same names have to share it, for any of them may be asked. Empty: acme in the directory of data.",
		also: []string{"acme-dir", "acme-storage", "cert-cache"},
	},

	{
		key: "cluster.name", kind: text("NAME", "1 to 64 letters, digits, _ and -", checkClusterName),
		def: "", example: "prod",
		help: "Join the cluster of this name, which is the same on all nodes: broadcasts then reach the clients of all nodes. " +
			"Needs cluster.listen or cluster.nats_url. Empty: this is a single node.",
		also: []string{"cluster", "join"},
	},
	{
		key: "cluster.node", kind: text("NAME", "1 to 128 letters, digits, dots, _ and -", checkNodeName),
		def: "", example: "node-1",
		help: "The name of this node, which no other node has at the same time and which it keeps when it restarts. Empty: the name of the machine.",
		also: []string{"node", "node-name", "server-name"},
	},
	{
		key: "cluster.listen", kind: text("ADDRESS", "[HOST]:PORT", checkOptionalAddress),
		def: "", example: ":6222",
		help: "The address on which other nodes connect, for a cluster without a separate NATS server: each node runs one of its own. Needs cluster.secret_file.",
		also: []string{"cluster-port", "cluster-addr", "cluster-bind"},
	},
	{
		key: "cluster.routes", kind: list("URLS", "addresses such as nats://HOST:PORT", 0, checkRoute),
		def: "", example: "nats://node-1:6222,nats://node-2:6222",
		help: "The cluster.listen addresses of other nodes. Reaching one is enough to learn of the others. The list may include this node, so that all nodes can have the same list.",
		also: []string{"routes", "route", "peers", "seeds", "nodes", "join-addresses"},
	},
	{
		key: "cluster.secret_file", guards: true, kind: text("FILE", "the path of a file with 32 bytes or more", checkFileName),
		def: "", example: "/etc/mycelium/cluster.secret",
		help: "A file with a secret that only the nodes of the cluster have: they prove themselves to each other with it, and encrypt their traffic (TLS 1.3). " +
			"\"openssl rand -hex 32\" makes one.",
		also: []string{"cookie", "cluster-secret", "cluster-key"},
	},
	{
		key: "cluster.insecure", kind: boolean,
		def: "false", example: "true",
		help: "Do not encrypt traffic between nodes: for nodes on one machine, or on a network that encrypts. The secret is still needed.",
		also: []string{"insecure", "cluster-plaintext"},
	},
	{
		key: "cluster.forward_listen", kind: text("ADDRESS", "[HOST]:PORT", checkOptionalAddress),
		def: "", example: ":6223",
		help: "The address on which other nodes pass on clients whose instance or long-polling session is on this node. Needs cluster.secret_file. " +
			"Empty: a free port, at the host of cluster.listen or else of listen.",
		also: []string{"forward-listen", "forward-port", "forward-addr", "proxy-listen"},
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
		help: "Credentials for cluster.nats_url, as \"nsc\" makes them. They must permit publishing and subscribing to mycelium.NAME.>, with the cluster's name.",
		also: []string{"nats-creds", "creds", "credentials"},
	},
	{
		key: "cluster.nats_ca", guards: true, kind: text("FILE", "the path of a PEM file", checkFileName),
		def: "", example: "/etc/mycelium/nats-ca.pem",
		help: "Certificates of the authorities that sign for the servers of cluster.nats_url. Empty: those that the system trusts.",
		also: []string{"nats-ca", "nats-tls-ca"},
	},
	{
		key: "cluster.nats_cert", guards: true, kind: text("FILE", "the path of a PEM file", checkFileName),
		def: "", example: "/etc/mycelium/nats-cert.pem",
		help: "The certificate that this node presents to the servers of cluster.nats_url. Needs cluster.nats_key too.",
		also: []string{"nats-cert", "nats-tls-cert"},
	},
	{
		key: "cluster.nats_key", guards: true, kind: text("FILE", "the path of a PEM file", checkFileName),
		def: "", example: "/etc/mycelium/nats-key.pem", secret: true,
		help: "The private key of cluster.nats_cert.",
		also: []string{"nats-key", "nats-tls-key"},
	},
	{
		key: "cluster.nats_events", kind: list("EVENTS", "names of events: "+strings.Join(eventNames, ", "), 0, checkEvent),
		def: "", example: "joined,left",
		help: "Publish these events of all instances of this node to the NATS servers of cluster.nats_url, on subjects mycelium.NAME.events.INSTANCE.EVENT. " +
			"They wait on the disk, in data, while NATS cannot be reached.",
		also: []string{"nats-events", "events", "nats-subjects"},
	},
	{
		key: "cluster.size", kind: number(0, 1000),
		def: "0", example: "3", unit: "nodes",
		help: "The number of nodes in the cluster, for /readyz of a node that starts: it waits for that many, itself included, but no longer than 5s for those that it does not hear.",
		zero: "it waits for one other node",
		also: []string{"size", "replicas", "cluster-nodes", "expect"},
	},
	{
		key: "cluster.instances", kind: oneOf("local", "shared"),
		def: "local", example: "shared",
		help: "Where instances live. local: those created by the API, and those with a single owner, are on one node alone. shared: all nodes know them, and a node that goes " +
			"hands its own over to another. Specs and states are then kept by all nodes together, in JetStream: in the directory of data on each node (needs cluster.size " +
			"and cluster.routes), or with cluster.nats_url by the NATS servers. Needs cluster.secret_file.",
		also: []string{"shared", "shared-instances", "jetstream"},
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
