package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// others are values, as a flag or a variable has them, as a file has them and as Config must
// then have them, of options whose example is their default or shows too little of them.
var others = map[string]struct {
	text, file string
	want       any
}{
	"path":                     {"/live", `"/live"`, "/live"},
	"topics":                   {"room:*, lobby", `["room:*", "lobby"]`, []string{"room:*", "lobby"}},
	"idle_timeout":             {"90s", `"1m30s"`, 90 * time.Second},
	"limits.max_message":       {"64KiB", "65536", 65536},
	"limits.max_channels":      {"10", "10", 10},
	"limits.joins_per_second":  {"11", `"11"`, 11},
	"limits.outbound_bytes":    {"2MB", `"2 MB"`, 2_000_000},
	"limits.header_bytes":      {"2048B", `"2KiB"`, 2048},
	"limits.handshake_timeout": {"1500ms", `"1.5s"`, 1500 * time.Millisecond},
	"drain.interval":           {"0", "0", time.Duration(0)},
	"drain.timeout":            {"1h", `"60m"`, time.Hour},
	"auth.phoenix_salt":        {"salt", `"salt"`, "salt"},
	"auth.leeway":              {"0", `"0s"`, time.Duration(0)},
	"auth.param":               {"jwt", `"jwt"`, "jwt"},
	"auth.user":                {"name", `"name"`, "name"},
	"auth.join":                {"room:*, lobby", `["room:*", "lobby"]`, []string{"room:*", "lobby"}},
	"check_origin": {
		"//Example.com,https://*.example.com:444", `["//Example.com", "https://*.example.com:444"]`,
		CheckOrigin{Mode: OriginList, Origins: []string{"//example.com", "https://*.example.com:444"}},
	},
}

// other returns a value of o that is not its default.
func other(t *testing.T, o *option) (text, file string, want any) {
	t.Helper()
	if v, ok := others[o.key]; ok {
		return v.text, v.file, v.want
	}
	if o.def == o.example {
		t.Fatalf("the example of %s is its default: give others a value of it", o.key)
	}
	want, wrong := o.kind.parse(o.words(o.example))
	if wrong != "" {
		t.Fatalf("%s: the example %s", o.key, wrong)
	}
	switch value := want.(type) {
	case int, bool:
		if o.kind.word != sizeWord {
			return o.example, o.example, want
		}
	case []string:
		words, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		return o.example, string(words), want
	}
	return o.example, strconv.Quote(o.example), want
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
	c := load(t, nil, nil)
	for _, o := range options {
		want, wrong := o.kind.parse(o.words(o.def))
		if got := c.field(o).Interface(); wrong != "" || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %#v, want %#v %s", o.key, got, want, wrong)
		}
	}
	for _, v := range []struct{ got, want any }{
		{c.Listen, ":4000"}, {c.IdleTimeout, time.Minute}, {c.Limits.MaxMessage, 1 << 20}, {c.Limits.SlowReceiver, "disconnect"},
		{c.CheckOrigin, CheckOrigin{Mode: OriginHost}}, {c.Topics, []string{"*"}}, {c.TrustedProxies, []string{}}, {c.Compress, false},
		{c.Limits.JoinTimeout, time.Duration(0)}, {c.File, ""}, {c.Warnings, []string(nil)}, {c.origins, map[string]string(nil)},
	} {
		if !reflect.DeepEqual(v.got, v.want) {
			t.Errorf("%#v, want %#v", v.got, v.want)
		}
	}
}

// TestEveryOption takes each option through a flag, a variable and both kinds
// of files.
func TestEveryOption(t *testing.T) {
	for _, o := range options {
		text, inFile, want := other(t, o)
		pair := companions(o)
		ways := map[string]*Config{
			"flag with =":   load(t, append(pair, "--"+o.flag()+"="+text), nil),
			"variable":      load(t, pair, []string{o.env() + "=" + text}),
			"flat YAML":     load(t, append(pair, "--config="+write(t, "c.yml", o.key+": "+inFile+"\n")), nil),
			"TOML":          load(t, append(pair, "--config="+write(t, "c.toml", o.key+" = "+inFile+"\n")), nil),
			"file by a var": load(t, pair, []string{"MYCELIUM_CONFIG=" + write(t, "c.YAML", o.key+": "+inFile+"\n")}),
		}
		if o.kind.word != boolean.word {
			ways["flag and word"] = load(t, append(pair, "--"+o.flag(), text), nil)
		}
		if o.kind.word == sizeWord || o.kind.word == durationWord {
			ways["YAML without quotes"] = load(t, append(pair, "--config="+write(t, "c.yaml", o.key+": "+text+"\n")), nil)
		}
		if section, name, ok := strings.Cut(o.key, "."); ok {
			ways["nested YAML"] = load(t, append(pair, "--config="+write(t, "c.yaml", section+":\n  "+name+": "+inFile+"\n")), nil)
			ways["TOML table"] = load(t, append(pair, "--config="+write(t, "c.toml", "["+section+"]\n"+name+" = "+inFile+"\n")), nil)
		}
		checkPrinted(t, o, "flag with =", ways["flag with ="])
		for way, c := range ways {
			if got := c.field(o).Interface(); !reflect.DeepEqual(got, want) {
				t.Errorf("%s by %s: %#v, want %#v", o.key, way, got, want)
			}
		}
	}
}

// companions are flags of other options without which an option is an error.
func companions(o *option) []string {
	var flags []string
	switch o.section() {
	case "tls": // one file of a certificate alone, or nobody who certifies
		switch {
		case strings.HasPrefix(o.key, "tls.acme"):
			flags = []string{"--tls-acme-hosts=rt.example.org", "--tls-acme-cache=d", "--tls-acme-listen=:80"}
		case o.key == "tls.client_cert":
			flags = []string{"--tls-cert=c.pem", "--tls-key=k.pem", "--tls-client-ca=ca.pem"}
		default:
			flags = []string{"--tls-cert=c.pem", "--tls-key=k.pem"}
		}
	case "auth": // nothing that tokens are verified by
		if o.key != "auth.jwks" {
			flags = []string{"--auth-jwks=https://a.example/keys"}
		}
	case "metrics":
		flags = []string{"--metrics-listen=:9"}
	case "cluster": // no name, or no way to the others
		switch {
		case o.key == "cluster.nats_cert" || o.key == "cluster.nats_key":
			flags = []string{"--cluster-name=test", "--cluster-nats-url=tls://a:4222", "--cluster-nats-cert=c.pem", "--cluster-nats-key=k.pem"}
		case strings.HasPrefix(o.key, "cluster.nats"):
			flags = []string{"--cluster-name=test", "--cluster-nats-url=tls://a:4222"}
		case o.key == "cluster.instances":
			flags = []string{"--cluster-name=test", "--cluster-nats-url=tls://a:4222", "--cluster-secret-file=s"}
		default:
			flags = []string{"--cluster-name=test", "--cluster-listen=:6222", "--cluster-secret-file=s"}
		}
	}
	return slices.DeleteFunc(flags, func(flag string) bool { return strings.HasPrefix(flag, "--"+o.flag()+"=") })
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
	if load(t, nil, nil).TLS.Enabled() || !load(t, []string{"--tls-cert=c", "--tls-key=k"}, nil).TLS.Enabled() ||
		!load(t, []string{"--tls-acme-hosts=a.example", "--data=d"}, nil).TLS.Enabled() {
		t.Error("TLS is to be enabled by its files or hosts alone")
	}
}
