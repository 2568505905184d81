package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
)

// every has for each option a value other than its default, as a flag or a
// variable has it, as a YAML value, and as Config must then have it.
var every = []struct {
	key, text, yaml string
	get             func(*Config) any
	want            any
}{
	{"listen", "127.0.0.1:9", `"127.0.0.1:9"`, func(c *Config) any { return c.Listen }, "127.0.0.1:9"},
	{"path", "/live", "/live", func(c *Config) any { return c.Path }, "/live"},
	{"data", "/tmp/d", "/tmp/d", func(c *Config) any { return c.Data }, "/tmp/d"},
	{"topics", "room:*, lobby", `["room:*", lobby]`, func(c *Config) any { return c.Topics }, []string{"room:*", "lobby"}},
	{"check_origin", "//Example.com,https://*.example.com:444", `["//Example.com", "https://*.example.com:444"]`,
		func(c *Config) any { return c.CheckOrigin },
		CheckOrigin{Mode: OriginList, Origins: []string{"//example.com", "https://*.example.com:444"}}},
	{"trusted_proxies", "10.0.0.0/8, ::1", `["10.0.0.0/8", "::1"]`, func(c *Config) any { return c.Proxies() },
		[]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}},
	{"idle_timeout", "90s", "1m30s", func(c *Config) any { return c.IdleTimeout }, 90 * time.Second},
	{"long_poll", "false", "false", func(c *Config) any { return c.LongPoll }, false},
	{"long_poll_window", "5s", "5s", func(c *Config) any { return c.LongPollWindow }, 5 * time.Second},
	{"long_poll_grace", "1s", "1s", func(c *Config) any { return c.LongPollGrace }, time.Second},
	{"compress", "true", "true", func(c *Config) any { return c.Compress }, true},
	{"loops", "3", "3", func(c *Config) any { return c.Loops }, 3},
	{"io_uring", "off", "off", func(c *Config) any { return c.IOUring }, "off"},
	{"log.level", "off", "off", func(c *Config) any { return c.Log.Level }, "off"},
	{"log.format", "json", "json", func(c *Config) any { return c.Log.Format }, "json"},
	{"limits.max_message", "64KiB", "65536", func(c *Config) any { return c.Limits.MaxMessage }, 65536},
	{"limits.max_connections", "7", "7", func(c *Config) any { return c.Limits.MaxConnections }, 7},
	{"limits.max_connections_per_address", "8", "8", func(c *Config) any { return c.Limits.MaxConnectionsPerAddress }, 8},
	{"limits.address_share", "60", "60", func(c *Config) any { return c.Limits.AddressShare }, 60},
	{"limits.handshakes_per_second", "9", "9", func(c *Config) any { return c.Limits.HandshakesPerSecond }, 9},
	{"limits.max_channels", "10", "10", func(c *Config) any { return c.Limits.MaxChannels }, 10},
	{"limits.socket_bytes", "64KiB", "65536", func(c *Config) any { return c.Limits.SocketBytes }, 65536},
	{"limits.joins_per_second", "11", "11", func(c *Config) any { return c.Limits.JoinsPerSecond }, 11},
	{"limits.messages_per_second", "12", "12", func(c *Config) any { return c.Limits.MessagesPerSecond }, 12},
	{"limits.heartbeats_per_second", "13", "13", func(c *Config) any { return c.Limits.HeartbeatsPerSecond }, 13},
	{"limits.bytes_per_second", "2KiB", "2048", func(c *Config) any { return c.Limits.BytesPerSecond }, 2048},
	{"limits.total_joins_per_second", "14", "14", func(c *Config) any { return c.Limits.TotalJoinsPerSecond }, 14},
	{"limits.total_messages_per_second", "15", "15", func(c *Config) any { return c.Limits.TotalMessagesPerSecond }, 15},
	{"limits.total_bytes_per_second", "3KiB", "3072", func(c *Config) any { return c.Limits.TotalBytesPerSecond }, 3072},
	{"limits.outbound_bytes", "2MB", "2 MB", func(c *Config) any { return c.Limits.OutboundBytes }, 2_000_000},
	{"limits.send_buffer", "128KiB", "131072", func(c *Config) any { return c.Limits.SendBuffer }, 128 << 10},
	{"limits.slow_receiver", "drop_oldest", "drop_oldest", func(c *Config) any { return c.Limits.SlowReceiver }, "drop_oldest"},
	{"limits.header_bytes", "2048B", "2KiB", func(c *Config) any { return c.Limits.HeaderBytes }, 2048},
	{"limits.handshake_timeout", "1500ms", "1.5s", func(c *Config) any { return c.Limits.HandshakeTimeout }, 1500 * time.Millisecond},
	{"presence.window", "50ms", "50ms", func(c *Config) any { return c.Presence.Window }, 50 * time.Millisecond},
	{"presence.off", "ticker:*", `"ticker:*"`, func(c *Config) any { return c.Presence.Off }, []string{"ticker:*"}},
	{"presence.diffs_off", "stage:*", `"stage:*"`, func(c *Config) any { return c.Presence.DiffsOff }, []string{"stage:*"}},
	{"drain.batch", "5", "5", func(c *Config) any { return c.Drain.Batch }, 5},
	{"drain.interval", "0", "0", func(c *Config) any { return c.Drain.Interval }, time.Duration(0)},
	{"drain.timeout", "1h", "60m", func(c *Config) any { return c.Drain.Timeout }, time.Hour},
	{"drain.delay", "5s", "5s", func(c *Config) any { return c.Drain.Delay }, 5 * time.Second},
	{"drain.close_frame", "false", "false", func(c *Config) any { return c.Drain.CloseFrame }, false},
	{"api.enabled", "false", "false", func(c *Config) any { return c.API.Enabled }, false},
	{"api.public_url", "https://example.com/realtime", "https://example.com/realtime", func(c *Config) any { return c.API.PublicURL }, "https://example.com/realtime"},
	{"api.private_jwks", "true", "true", func(c *Config) any { return c.API.PrivateJWKS }, true},
	{"metrics.listen", "127.0.0.1:9", `"127.0.0.1:9"`, func(c *Config) any { return c.Metrics.Listen }, "127.0.0.1:9"},
	{"metrics.allow", "10.0.0.0/8", "10.0.0.0/8", func(c *Config) any { return c.Metrics.Allow }, []string{"10.0.0.0/8"}},
	{"metrics.token", "0123456789abcdef", "0123456789abcdef", func(c *Config) any { return c.Metrics.Token }, "0123456789abcdef"},
	{"auth.secret", "0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef", func(c *Config) any { return c.Auth.Secret }, "0123456789abcdef0123456789abcdef"},
	{"auth.public_key_file", "jwt.pem", "jwt.pem", func(c *Config) any { return c.Auth.PublicKeyFile }, "jwt.pem"},
	{"auth.algorithm", "ES256", "ES256", func(c *Config) any { return c.Auth.Algorithm }, "ES256"},
	{"auth.jwks", "https://a.example/keys", "https://a.example/keys", func(c *Config) any { return c.Auth.JWKS }, []string{"https://a.example/keys"}},
	{"auth.phoenix_secret", "fedcba9876543210fedcba9876543210", "fedcba9876543210fedcba9876543210", func(c *Config) any { return c.Auth.PhoenixSecret }, "fedcba9876543210fedcba9876543210"},
	{"auth.phoenix_salt", "salt", "salt", func(c *Config) any { return c.Auth.PhoenixSalt }, "salt"},
	{"auth.phoenix_max_age", "2h", "2h", func(c *Config) any { return c.Auth.PhoenixMaxAge }, 2 * time.Hour},
	{"auth.issuer", "me", "me", func(c *Config) any { return c.Auth.Issuer }, "me"},
	{"auth.audience", "you", "you", func(c *Config) any { return c.Auth.Audience }, []string{"you"}},
	{"auth.leeway", "0", "0s", func(c *Config) any { return c.Auth.Leeway }, time.Duration(0)},
	{"auth.no_expiry", "true", "true", func(c *Config) any { return c.Auth.NoExpiry }, true},
	{"auth.from", "params", "params", func(c *Config) any { return c.Auth.From }, []string{"params"}},
	{"auth.param", "jwt", "jwt", func(c *Config) any { return c.Auth.Param }, "jwt"},
	{"auth.socket_id", "u:{sub}", `"u:{sub}"`, func(c *Config) any { return c.Auth.SocketID }, "u:{sub}"},
	{"auth.user", "name", "name", func(c *Config) any { return c.Auth.User }, "name"},
	{"auth.join", "room:*, lobby", `["room:*", lobby]`, func(c *Config) any { return c.Auth.Join }, []string{"room:*", "lobby"}},
	{"auth.publish", "room:{sub}", `"room:{sub}"`, func(c *Config) any { return c.Auth.Publish }, []string{"room:{sub}"}},
	{"auth.join_claim", "j", "j", func(c *Config) any { return c.Auth.JoinClaim }, "j"},
	{"auth.publish_claim", "p", "p", func(c *Config) any { return c.Auth.PublishClaim }, "p"},
	{"auth.warning", "5m", "5m", func(c *Config) any { return c.Auth.Warning }, 5 * time.Minute},
	{"tls.cert", "c.pem", "c.pem", func(c *Config) any { return c.TLS.Cert }, "c.pem"},
	{"tls.key", "k.pem", "k.pem", func(c *Config) any { return c.TLS.Key }, "k.pem"},
	{"tls.clear", "refuse", "refuse", func(c *Config) any { return c.TLS.Clear }, "refuse"},
	{"cluster.name", "prod", "prod", func(c *Config) any { return c.Cluster.Name }, "prod"},
	{"cluster.node", "node-1.rack-2", "node-1.rack-2", func(c *Config) any { return c.Cluster.Node }, "node-1.rack-2"},
	{"cluster.listen", "127.0.0.1:6222", `"127.0.0.1:6222"`, func(c *Config) any { return c.Cluster.Listen }, "127.0.0.1:6222"},
	{"cluster.routes", "nats://a:6222, nats://b:6222", `["nats://a:6222", "nats://b:6222"]`, func(c *Config) any { return c.Cluster.Routes }, []string{"nats://a:6222", "nats://b:6222"}},
	{"cluster.secret_file", "cluster.secret", "cluster.secret", func(c *Config) any { return c.Cluster.SecretFile }, "cluster.secret"},
	{"cluster.insecure", "true", "true", func(c *Config) any { return c.Cluster.Insecure }, true},
	{"cluster.nats_url", "tls://a:4222", `["tls://a:4222"]`, func(c *Config) any { return c.Cluster.NATSURL }, []string{"tls://a:4222"}},
	{"cluster.nats_creds", "nats.creds", "nats.creds", func(c *Config) any { return c.Cluster.NATSCreds }, "nats.creds"},
	{"cluster.nats_ca", "ca.pem", "ca.pem", func(c *Config) any { return c.Cluster.NATSCA }, "ca.pem"},
	{"cluster.nats_cert", "c.pem", "c.pem", func(c *Config) any { return c.Cluster.NATSCert }, "c.pem"},
	{"cluster.nats_key", "k.pem", "k.pem", func(c *Config) any { return c.Cluster.NATSKey }, "k.pem"},
	{"cluster.size", "3", "3", func(c *Config) any { return c.Cluster.Size }, 3},
}

// write makes a file for one test and returns its name.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, args, environ []string) *Config {
	t.Helper()
	c, err := Load(args, environ)
	if err != nil {
		t.Fatalf("Load(%q, %q): %v", args, environ, err)
	}
	return c
}

func TestDefaults(t *testing.T) {
	want := &Config{
		Listen: ":4000", Path: "/socket", Topics: []string{"*"},
		CheckOrigin: CheckOrigin{Mode: OriginHost}, TrustedProxies: []string{}, IdleTimeout: time.Minute, LongPoll: true, LongPollWindow: 10 * time.Second, LongPollGrace: 3 * time.Second, IOUring: "auto",
		Log: Log{Level: "info", Format: "auto"},
		Limits: Limits{SlowReceiver: "disconnect", Limits: channels.Limits{
			MaxMessage: 1 << 20, MaxChannels: 100, AddressShare: 25, SocketBytes: 256 << 10, JoinsPerSecond: 200, MessagesPerSecond: 1000, HeartbeatsPerSecond: 1000,
			OutboundBytes: 4 << 20, HeaderBytes: 16 << 10, HandshakeTimeout: 10 * time.Second,
		}},
		Presence: Presence{Off: []string{}, DiffsOff: []string{}},
		Drain:    Drain{Batch: 10000, Interval: 2 * time.Second, Timeout: 30 * time.Second, CloseFrame: true},
		Metrics:  Metrics{Allow: []string{}},
		TLS:      TLS{Clear: "redirect"},
		API:      API{Enabled: true},
		Auth: Auth{
			Algorithm: "HS256", JWKS: []string{}, PhoenixSalt: "user socket", Audience: []string{}, Leeway: 5 * time.Second,
			From: []string{"params", "auth_token"}, Param: "token", User: "sub", Join: []string{}, Publish: []string{},
			JoinClaim: "channels.join", PublishClaim: "channels.publish", Warning: time.Minute,
		},
		Cluster: Cluster{Routes: []string{}, NATSURL: []string{}},
	}
	if got := load(t, nil, nil); !reflect.DeepEqual(got, want) {
		t.Errorf("defaults\n%+v\nwant\n%+v", got, want)
	}
}

// TestEveryOption takes each option through a flag, a variable and both kinds
// of files.
func TestEveryOption(t *testing.T) {
	if len(every) != len(options) {
		t.Fatalf("%d options and %d values for them", len(options), len(every))
	}
	for i, o := range options {
		v := every[i]
		if v.key != o.key {
			t.Fatalf("option %d is %s, its value is for %s", i, o.key, v.key)
		}
		pair := companions(o)
		yamlText, tomlText := o.key+": "+v.yaml+"\n", o.key+" = "+tomlValue(v.yaml)+"\n"
		ways := map[string]*Config{
			"flag with =":   load(t, append(pair, "--"+o.flag()+"="+v.text), nil),
			"variable":      load(t, pair, []string{o.env() + "=" + v.text}),
			"flat YAML":     load(t, append(pair, "--config="+write(t, "c.yml", yamlText)), nil),
			"TOML":          load(t, append(pair, "--config="+write(t, "c.toml", tomlText)), nil),
			"file by a var": load(t, pair, []string{"MYCELIUM_CONFIG=" + write(t, "c.YAML", yamlText)}),
		}
		if o.kind.word != boolean.word {
			ways["flag and word"] = load(t, append(pair, "--"+o.flag(), v.text), nil)
		}
		if section, name, ok := strings.Cut(o.key, "."); ok {
			nested := section + ":\n  " + name + ": " + v.yaml + "\n"
			ways["nested YAML"] = load(t, append(pair, "--config="+write(t, "c.yaml", nested)), nil)
			table := "[" + section + "]\n" + name + " = " + tomlValue(v.yaml) + "\n"
			ways["TOML table"] = load(t, append(pair, "--config="+write(t, "c.toml", table)), nil)
		}
		checkPrinted(t, o, "flag with =", ways["flag with ="])
		for way, c := range ways {
			if got := v.get(c); !reflect.DeepEqual(got, v.want) {
				t.Errorf("%s by %s: %#v, want %#v", o.key, way, got, v.want)
			}
		}
	}
}

// companions are flags without which an option is an error.
func companions(o *option) []string {
	switch o.section() {
	case "tls": // one file of a certificate alone
		return []string{"--tls-cert=c.pem", "--tls-key=k.pem"}
	case "auth": // nothing that tokens are verified by
		if o.key != "auth.jwks" {
			return []string{"--auth-jwks=https://a.example/keys"}
		}
	case "metrics":
		if o.key == "metrics.allow" {
			return []string{"--metrics-listen=:9"}
		}
	case "cluster": // no name, or no way to the others
		pair := []string{"--cluster-name=test", "--cluster-listen=:6222", "--cluster-secret-file=s"}
		switch {
		case o.key == "cluster.nats_cert" || o.key == "cluster.nats_key":
			pair = []string{"--cluster-name=test", "--cluster-nats-url=tls://a:4222", "--cluster-nats-cert=c.pem", "--cluster-nats-key=k.pem"}
		case strings.HasPrefix(o.key, "cluster.nats"):
			pair = []string{"--cluster-name=test", "--cluster-nats-url=tls://a:4222"}
		}
		return slices.DeleteFunc(pair, func(flag string) bool { return strings.HasPrefix(flag, "--"+o.flag()+"=") })
	}
	return nil
}

// checkPrinted: what is printed can be loaded again and is the same, but for
// secrets, which are not there.
func checkPrinted(t *testing.T, o *option, way string, c *Config) {
	t.Helper()
	text, err := c.YAML(false)
	if err != nil {
		t.Fatal(err)
	}
	var environ []string
	for name, secret := range map[string]string{
		"METRICS_TOKEN": c.Metrics.Token, "TLS_KEY": c.TLS.Key, "CLUSTER_NATS_KEY": c.Cluster.NATSKey, "AUTH_SECRET": c.Auth.Secret, "AUTH_PHOENIX_SECRET": c.Auth.PhoenixSecret,
	} {
		if secret != "" {
			environ = append(environ, "MYCELIUM_"+name+"="+secret)
		}
	}
	shown := regexp.MustCompile(`.*\(hidden\)\n`).ReplaceAllString(text, "")
	again := load(t, []string{"--config=" + write(t, "printed.yaml", shown)}, environ)
	if _, change, err := c.Reloaded(again); err != nil || len(change.Live)+len(change.Restart) > 0 {
		t.Errorf("%s by %s is another when it is printed: %v\n%s", o.key, way, change, text)
	}
}

// tomlValue writes a YAML value of every as TOML.
func tomlValue(yaml string) string {
	switch {
	case strings.HasPrefix(yaml, "[\"room"):
		return `["room:*", "lobby"]`
	case strings.HasPrefix(yaml, "["), strings.HasPrefix(yaml, `"`), yaml == "false":
		return yaml
	case strings.Trim(yaml, "0123456789") == "":
		return yaml
	}
	return `"` + yaml + `"`
}

func TestPrecedence(t *testing.T) {
	file := "--config=" + write(t, "c.yaml", "loops: 1\n")
	env := []string{"MYCELIUM_LOOPS=2"}
	for _, c := range []struct {
		args, environ []string
		want          int
	}{
		{nil, nil, 0},
		{[]string{file}, nil, 1},
		{[]string{file}, env, 2},
		{[]string{file, "--loops=3"}, env, 3},
		{[]string{"--loops=3", "--loops=4"}, env, 4},
		{[]string{file}, []string{"MYCELIUM_LOOPS="}, 1}, // empty is not set
	} {
		if got := load(t, c.args, c.environ).Loops; got != c.want {
			t.Errorf("%q %q: %d, want %d", c.args, c.environ, got, c.want)
		}
	}
	both := write(t, "flag.yaml", "loops: 5\n")
	got := load(t, []string{"--config", both}, []string{"MYCELIUM_CONFIG=/nonexistent.yaml"})
	if got.Loops != 5 || got.File != both {
		t.Errorf("the file of the flag is to win: %+v", got)
	}
}

func TestLists(t *testing.T) {
	got := load(t, []string{"--topics=a:*,b", "--topics", "c"}, []string{"MYCELIUM_TOPICS=x"}).Topics
	if want := []string{"a:*", "b", "c"}; !reflect.DeepEqual(got, want) {
		t.Errorf("repeated flag: %q, want %q", got, want)
	}
	file := write(t, "c.yaml", "presence: {diffs_off: [\"a,b\"]}\n")
	got = load(t, []string{"--config=" + file}, nil).Presence.DiffsOff
	if want := []string{"a,b"}; !reflect.DeepEqual(got, want) {
		t.Errorf("a comma in an element of a file: %q, want %q", got, want)
	}
	got = load(t, []string{"--config=" + file, "--presence-diffs-off="}, nil).Presence.DiffsOff
	if len(got) != 0 {
		t.Errorf("an empty flag is to empty the list, got %q", got)
	}
}

func TestEmptyFilesAndSections(t *testing.T) {
	want := load(t, nil, nil)
	for name, text := range map[string]string{
		"empty.yaml": "", "empty.toml": "", "comment.yaml": "# nothing\n",
		"null.yaml": "listen:\nlimits:\n  # max_channels: 3\nlog: {}\n", "section.toml": "[limits]\n",
	} {
		got := load(t, []string{"--config=" + write(t, name, text)}, nil)
		got.File = ""
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want the defaults", name, got)
		}
	}
}

// TestForeignVariables: Kubernetes gives each pod the addresses of services.
func TestForeignVariables(t *testing.T) {
	load(t, nil, []string{
		"MYCELIUM_SERVICE_HOST=10.0.0.1", "MYCELIUM_SERVICE_PORT=4000", "MYCELIUM_SERVICE_PORT_HTTP=4000",
		"MYCELIUM_PORT=tcp://10.0.0.1:4000", "MYCELIUM_PORT_4000_TCP=tcp://10.0.0.1:4000",
		"MYCELIUM_PORT_4000_TCP_PROTO=tcp", "MYCELIUM_PORT_4000_TCP_PORT=4000", "MYCELIUM_PORT_4000_TCP_ADDR=10.0.0.1",
		"MYCELIUM_CANARY_SERVICE_HOST=10.0.0.2", "MYCELIUM_CANARY_PORT=udp://10.0.0.2:1",
		"PATH=/bin", "mycelium_listen=x", "=x", "MYCELIUM", "",
	})
}

func TestHelpIsAsked(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"-h"}, {"-help"}, {"--lisen", "--loops=x", "--help"}, {"x", "-h"}} {
		if c, err := Load(args, nil); err != ErrHelp || c != nil {
			t.Errorf("Load(%q) = %v, %v; want ErrHelp", args, c, err)
		}
	}
	if c := load(t, []string{"--path", "/help"}, nil); c.Path != "/help" {
		t.Errorf("a value is no request for help: %+v", c)
	}
}

func TestTLSEnabled(t *testing.T) {
	if load(t, nil, nil).TLS.Enabled() || !load(t, []string{"--tls-cert=c", "--tls-key=k"}, nil).TLS.Enabled() {
		t.Error("TLS is to be enabled by its files alone")
	}
}
