package config

import (
	"errors"
	"strings"
	"testing"
)

// problems loads what must fail and returns its problems, with FILE for the
// name of the file.
func problems(t *testing.T, file string, args, environ []string) []string {
	t.Helper()
	c, err := Load(args, environ)
	var e *Error
	if !errors.As(err, &e) || c != nil {
		t.Fatalf("Load(%q, %q) = %+v, %v; want an *Error", args, environ, c, err)
	}
	if err.Error() != strings.Join(e.Problems, "\n") {
		t.Errorf("Error() is not the problems one a line: %s", err)
	}
	if file == "" {
		return e.Problems
	}
	for i := range e.Problems {
		e.Problems[i] = strings.ReplaceAll(e.Problems[i], file, "FILE")
	}
	return e.Problems
}

func wantProblems(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("problems\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestUnknownNames(t *testing.T) {
	for _, c := range []struct{ args, environ, want string }{
		{args: "--lisen=:1", want: "unknown flag --lisen; did you mean --listen?"},
		{args: "--lisen :1", want: "unknown flag --lisen; did you mean --listen?"},
		{args: "-listen=:1", want: "unknown flag -listen; did you mean --listen?"},
		{args: "--port=1", want: "unknown flag --port; did you mean --listen?"},
		{args: "--max-channels 5", want: "unknown flag --max-channels; did you mean --limits-max-channels?"},
		{args: "--limits.max_channels=5", want: "unknown flag --limits.max_channels; did you mean --limits-max-channels?"},
		{args: "--file=x", want: "unknown flag --file; did you mean --config?"},
		{args: "--quux=secret", want: "unknown flag --quux; \"mycelium help serve\" lists the flags"},
		{args: "---", want: "unknown flag ---; \"mycelium help serve\" lists the flags"},
		{args: "--=x", want: "unknown flag --; \"mycelium help serve\" lists the flags"},
		{args: "-", want: `unexpected argument "-"; options are given as --name=value, and "mycelium help serve" lists them`},
		{args: "--loops=1 4000", want: `unexpected argument "4000"; options are given as --name=value, and "mycelium help serve" lists them`},
		{args: "-- --loops", want: `unexpected argument "--loops"; options are given as --name=value, and "mycelium help serve" lists them`},
		{args: "--drain-close-frame no", want: `unexpected argument "no"; options are given as --name=value, and "mycelium help serve" lists them`},
		{args: "--loops", want: "flag --loops has no value; it takes a whole number from 0 to 1024, for example --loops=4"},
		{environ: "MYCELIUM_LISEN=secret", want: "unknown environment variable MYCELIUM_LISEN; did you mean MYCELIUM_LISTEN?"},
		{environ: "MYCELIUM_PORT=4000", want: "unknown environment variable MYCELIUM_PORT; did you mean MYCELIUM_LISTEN?"},
		{environ: "MYCELIUM_LIMITS__MAX_CHANNELS=1", want: "unknown environment variable MYCELIUM_LIMITS__MAX_CHANNELS; did you mean MYCELIUM_LIMITS_MAX_CHANNELS?"},
		{environ: "MYCELIUM_QUUX=secret", want: "unknown environment variable MYCELIUM_QUUX; \"mycelium help serve\" lists the options"},
		{environ: "MYCELIUM_=1", want: "unknown environment variable MYCELIUM_; \"mycelium help serve\" lists the options"},
	} {
		got := problems(t, "", strings.Fields(c.args), strings.Fields(c.environ))
		wantProblems(t, got, c.want)
	}
}

// TestWrongValues has what is wrong with each kind of value. The rest of the
// sentence is in TestWhereItCameFrom.
func TestWrongValues(t *testing.T) {
	for _, c := range []struct{ arg, want string }{
		{"--listen=4000", `listen: "4000" (from flag --listen) is a port without the colon before it; it takes [HOST]:PORT, for example 127.0.0.1:4000`},
		{"--listen=", `listen: "" (from flag --listen) is not an address with a port; it takes [HOST]:PORT, for example 127.0.0.1:4000`},
		{"--listen=host", "is not an address with a port"},
		{"--listen=::1:4000", "is not an address with a port"},
		{"--listen=:70000", "does not have a port from 0 to 65535"},
		{"--listen=:http", "does not have a port from 0 to 65535"},
		{"--listen=http://a:1", "is not an address with a port"},
		{"--listen=//a:1", "does not have the name or address of a host"},
		{"--path=socket", `path: "socket" (from flag --path) does not begin with /; it takes a path that begins with / and does not end with it, for example /socket`},
		{"--path=/", "ends with /"},
		{"--path=/a//b", "is not a plain path"},
		{"--path=/a?b", "is not a plain path"},
		{"--topics=", `topics: "" (from flag --topics) is empty; it takes one or more topic patterns, exact or with one * at the end, for example room:*,lobby`},
		{"--topics=a:*,b*c", `topics: "a:*,b*c" (from flag --topics) has "b*c", which has a * that is not at the end; it takes one or more topic patterns, exact or with one * at the end, for example room:*,lobby`},
		{"--topics=a,", `has "", which is empty`},
		{"--topics=phoenix", "begins with phoenix, which is reserved"},
		{"--topics=phoenix_live_reload:*", "begins with phoenix, which is reserved"},
		{"--topics=\xff", "is not a topic that clients would join"},
		{"--presence-diffs-off=**", `presence.diffs_off: "**" (from flag --presence-diffs-off) has a * that is not at the end; it takes topic patterns, exact or with one * at the end, for example stage:*`},
		{"--check-origin=example.com", `check_origin: "example.com" (from flag --check-origin) is not an origin: it has no // before the host; it takes host, conn, off, or a list of origins, for example //example.com,https://*.example.com`},
		{"--check-origin=", "is empty"},
		{"--check-origin=conn,//a.com", `has "conn", which cannot be combined with origins`},
		{"--check-origin=//", "is not an origin"},
		{"--check-origin=https://u:p@a.com", "is not an origin"},
		{"--check-origin=https://a.com/", "has more than scheme, host and port"},
		{"--check-origin=https://a.com#", "has more than scheme, host and port"},
		{"--check-origin=//a.com:99999", "does not have a port from 1 to 65535"},
		{"--check-origin=//a.com:", "does not have a port from 1 to 65535"},
		{"--check-origin=//a.*.com", "has a * that is not the whole first label of the host"},
		{"--check-origin=//*", "has a * that is not the whole first label of the host"},
		{"--idle-timeout=60", `idle_timeout: "60" (from flag --idle-timeout) has no unit; it takes a duration from 1s to 24h, with its unit: ms, s, m or h, for example 60s`},
		{"--idle-timeout=soon", "is not a duration"},
		{"--idle-timeout=10ms", "is too small"},
		{"--idle-timeout=25h", "is too large"},
		{"--presence-window=-1s", "is too small"},
		{"--loops=two", `loops: "two" (from flag --loops) is not a whole number; it takes a whole number from 0 to 1024, for example 4`},
		{"--loops=-1", "is too small"},
		{"--loops=1025", "is too large"},
		{"--loops=1.5", "is not a whole number"},
		{"--limits-max-connections=99999999999999999999", "is not a whole number"},
		{"--limits-max-channels=0", "is too small"},
		{"--log-level=verbose", `log.level: "verbose" (from flag --log-level) is not valid; it takes one of debug, info, warn, error, off, for example debug`},
		{"--log-format=JSON", `log.format: "JSON" (from flag --log-format) is not valid; it takes one of auto, text, json, for example json`},
		{"--limits-slow-receiver=drop", `limits.slow_receiver: "drop" (from flag --limits-slow-receiver) is not valid; it takes one of disconnect, drop_oldest, drop_newest, for example drop_oldest`},
		{"--limits-max-message=big", `limits.max_message: "big" (from flag --limits-max-message) is not a size; it takes a size from 1KiB to 1GiB: bytes, or a number with KB, MB, GB, KiB, MiB or GiB, for example 256KiB`},
		{"--limits-max-message=1", "is too small"},
		{"--limits-max-message=-1GB", "is too small"},
		{"--limits-max-message=9223372036854775807GiB", "is too large"},
		{"--limits-max-message=1TB", "is not a size"},
		{"--drain-close-frame=perhaps", `drain.close_frame: "perhaps" (from flag --drain-close-frame) is neither true nor false; it takes true or false, for example false`},
		{"--auth-algorithm=none", "is not a supported algorithm"},
		{"--api-public-url=rt.example.com", `api.public_url: "rt.example.com" (from flag --api-public-url) is not an http or https URL; it takes an http or https URL, for example https://example.com/realtime`},
		{"--api-public-url=https://u:p@a.com", "has more than scheme, host, port and path"},
		{"--api-public-url=https://a.com/x?y=1", "has more than scheme, host, port and path"},
		{"--api-public-url=https://a.com/x/../y", "does not have a plain path"},
		{"--path=" + strings.Repeat("x", 100), `path: "` + strings.Repeat("x", 60) + `"… (from flag --path) does not begin with /; it takes a path that begins with / and does not end with it, for example /socket`},
	} {
		got := problems(t, "", []string{c.arg}, nil)
		if len(got) != 1 {
			t.Errorf("%s: %d problems: %q", c.arg, len(got), got)
			continue
		}
		if whole := strings.Contains(c.want, "(from"); whole && got[0] != c.want || !strings.Contains(got[0], c.want+";") && !whole {
			t.Errorf("%s:\n%s\nwant\n%s", c.arg, got[0], c.want)
		}
	}
}

func TestWhereItCameFrom(t *testing.T) {
	const rest = ` is not a whole number; it takes a whole number from 1 to 1000000, for example 100`
	yaml := write(t, "c.yaml", "# comment\nlimits:\n  max_channels: many\n")
	toml := write(t, "c.toml", "[limits]\nmax_channels = 1.5\n")
	for _, c := range []struct{ file, arg, environ, want string }{
		{yaml, "--config=" + yaml, "", `limits.max_channels: "many" (from file FILE:3)` + rest},
		{toml, "--config=" + toml, "", `limits.max_channels: "1.5" (from file FILE:2)` + rest},
		{"", "--limits-max-channels=many", "", `limits.max_channels: "many" (from flag --limits-max-channels)` + rest},
		{"", "", "MYCELIUM_LIMITS_MAX_CHANNELS=many", `limits.max_channels: "many" (from environment variable MYCELIUM_LIMITS_MAX_CHANNELS)` + rest},
	} {
		wantProblems(t, problems(t, c.file, strings.Fields(c.arg), strings.Fields(c.environ)), c.want)
	}
}

func TestFileProblems(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"c.yaml", "loops: 1\nlisen: x\n", `FILE:2: unknown key "lisen"; did you mean listen?`},
		{"c.yaml", "limit:\n  max_channels: 5\n", `FILE:2: unknown key "limit.max_channels"; did you mean limits.max_channels?`},
		{"c.yaml", "max_channels: 5\n", `FILE:1: unknown key "max_channels"; did you mean limits.max_channels?`},
		{"c.toml", "[log]\nlvl = 'x'\n", `FILE:2: unknown key "log.lvl"; did you mean log.level?`},
		{"c.yaml", "quux: secret\n", `FILE:1: unknown key "quux"; "mycelium help serve" lists the options`},
		{"c.yaml", "config: other.yaml\n", `FILE:1: unknown key "config"; "mycelium help serve" lists the options`},
		{"c.yaml", "lag: {level: 1}\nlig: {level: 1}\n", "FILE:1: unknown key \"lag.level\"; did you mean log.level?\nFILE:2: unknown key \"lig.level\"; did you mean log.level?"},
		{"c.yaml", "1: 2\nlog: {2: 3}\n", "FILE:1: unknown key \"1\"; \"mycelium help serve\" lists the options\nFILE:2: unknown key \"log.2\"; \"mycelium help serve\" lists the options"},
		{"c.yaml", "limits: 5\n", `FILE:1: "limits" is a section and takes no value of its own; "mycelium help serve" lists what is in it`},
		{"c.yaml", "listen: {host: a}\n", `FILE:1: "listen.host" is inside listen, which is not a section; listen takes [HOST]:PORT, for example 127.0.0.1:4000`},
		{"c.yaml", "log:\n  format: json\n  level: x\nlimits:\n  level: y\n", "FILE:5: unknown key \"limits.level\"; \"mycelium help serve\" lists the options\nlog.level: \"x\" (from file FILE:3) is not valid; it takes one of debug, info, warn, error, off, for example debug"},
		{"c.toml", "# [no]\ndrain . batch = 1\n[limits]\nlevel = 'x'\n[ 'log' ]\n  \"level\" = 1\n", "FILE:4: unknown key \"limits.level\"; \"mycelium help serve\" lists the options\nlog.level: \"1\" (from file FILE:6) is not valid; it takes one of debug, info, warn, error, off, for example debug"},
		{"c.yaml", "log.level: info\nlog: {level: debug}\n", `FILE: log.level is set twice; remove one`},
		{"c.yaml", "loops: [1]\n", `loops: the value (from file FILE:1) is a list; it takes a whole number from 0 to 1024, for example 4`},
		{"c.yaml", "topics: [[a]]\n", `topics: the value (from file FILE:1) has an element that is not a plain value; it takes one or more topic patterns, exact or with one * at the end, for example room:*,lobby`},
		{"c.toml", "idle_timeout = 2020-01-01\n", `idle_timeout: the value (from file FILE:1) is not a plain value; it takes a duration from 1s to 24h, with its unit: ms, s, m or h, for example 60s`},
		{"c.yaml", "listen: 4000\n", `listen: "4000" (from file FILE:1) is a port without the colon before it; it takes [HOST]:PORT, for example 127.0.0.1:4000`},
		{"c.yaml", "- secret\n", `FILE: is not a mapping of keys to values, such as listen: ":4000"`},
		{"c.json", "{}", `config: "FILE" (from flag --config) has an unknown extension; it takes the path of a .yaml, .yml or .toml file, for example mycelium.yaml`},
	} {
		file := write(t, c.name, c.text)
		wantProblems(t, problems(t, file, []string{"--config=" + file}, nil), c.want)
	}
}

func TestFileThatCannotBeParsed(t *testing.T) {
	for name, text := range map[string]string{
		"c.yaml": "a: b: c\n", "d.yaml": "loops: 1\nloops: 2\n", "c.toml": "loops = \n", "tab.yaml": "log:\n\tlevel: x\n",
	} {
		file := write(t, name, text)
		got := problems(t, file, []string{"--config=" + file}, nil)
		if len(got) != 1 || !strings.HasPrefix(got[0], "FILE: cannot be parsed: ") || strings.Contains(got[0], "\n") {
			t.Errorf("%s: %q", name, got)
		}
	}
	wantProblems(t, problems(t, "", []string{"--config=/nonexistent/c.yaml"}, nil),
		`config: "/nonexistent/c.yaml" (from flag --config) cannot be read: no such file or directory`)
	wantProblems(t, problems(t, "", nil, []string{"MYCELIUM_CONFIG=/nonexistent/c.toml"}),
		`config: "/nonexistent/c.toml" (from environment variable MYCELIUM_CONFIG) cannot be read: no such file or directory`)
	wantProblems(t, problems(t, "", []string{"--config="}, nil),
		`config: "" (from flag --config) has an unknown extension; it takes the path of a .yaml, .yml or .toml file, for example mycelium.yaml`)
}

func TestOptionsThatDoNotFit(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--tls-cert=c", "tls.cert is set (from flag --tls-cert) and tls.key is not; TLS needs both, for example --tls-key=/etc/mycelium/key.pem"},
		{"--tls-key=k", "tls.key is set (from flag --tls-key) and tls.cert is not; TLS needs both, for example --tls-cert=/etc/mycelium/cert.pem"},
		{"--limits-max-message=8MiB", "limits.outbound_bytes is 4194304 and cannot hold a message of limits.max_message, which is 8388608; it takes at least 8388672 here, or a smaller limits.max_message"},
	} {
		wantProblems(t, problems(t, "", strings.Fields(c.args), nil), c.want)
	}
	// No second problem that only follows from the first.
	if got := problems(t, "", []string{"--limits-max-message=8MiB", "--limits-outbound-bytes=x"}, nil); len(got) != 1 {
		t.Errorf("%q", got)
	}
}

// TestAllAtOnce: one problem of each layer, in the order of the layers.
func TestAllAtOnce(t *testing.T) {
	file := write(t, "c.yaml", "lisen: x\nloops: a\n")
	args := []string{"--lisen=1", "--quux", "--config=" + file, "--loops=b", "--drain-batch"}
	got := problems(t, file, args, []string{"MYCELIUM_LISEN=x", "MYCELIUM_A=", "MYCELIUM_LOOPS=c", "MYCELIUM_TLS_CERT=c"})
	const rest = " is not a whole number; it takes a whole number from 0 to 1024, for example 4"
	wantProblems(t, got,
		"unknown flag --lisen; did you mean --listen?",
		"unknown flag --quux; \"mycelium help serve\" lists the flags",
		"flag --drain-batch has no value; it takes a whole number from 1 to 2147483647, for example --drain-batch=1000",
		"unknown environment variable MYCELIUM_A; \"mycelium help serve\" lists the options",
		"unknown environment variable MYCELIUM_LISEN; did you mean MYCELIUM_LISTEN?",
		`FILE:1: unknown key "lisen"; did you mean listen?`,
		`loops: "a" (from file FILE:2)`+rest,
		`loops: "c" (from environment variable MYCELIUM_LOOPS)`+rest,
		`loops: "b" (from flag --loops)`+rest,
		"tls.cert is set (from environment variable MYCELIUM_TLS_CERT) and tls.key is not; TLS needs both, for example --tls-key=/etc/mycelium/key.pem",
	)
}

// TestSecretsAreNotPrinted: a key passed in the place of its file name, and
// what is passed under a name that is mistyped.
func TestSecretsAreNotPrinted(t *testing.T) {
	const pem = "-----BEGIN PRIVATE KEY----- s3cr3t"
	wantProblems(t, problems(t, "", []string{"--tls-cert=c", "--tls-key=" + pem}, nil),
		"tls.key: the value, which is not shown, (from flag --tls-key) is the text of a PEM file; it takes the path of a PEM file, for example /etc/mycelium/key.pem")
	file := write(t, "c.yaml", "token: s3cr3t\ntls: {cert: c, key: '"+pem+"'}\n")
	list := write(t, "l.yaml", "- s3cr3t\n")
	scalar := write(t, "s.yaml", "s3cr3t\n")
	for _, args := range [][]string{
		{"--token=s3cr3t"}, {"--token", "s3cr3t"}, {"-token", "s3cr3t"},
		{"--config=" + file}, {"--config=" + list}, {"--config=" + scalar},
	} {
		for _, p := range problems(t, "", args, []string{"MYCELIUM_TOKEN=s3cr3t"}) {
			if strings.Contains(p, "s3cr3t") {
				t.Errorf("%q: %s", args, p)
			}
		}
	}
}
