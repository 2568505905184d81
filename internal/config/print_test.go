package config

import (
	"net/netip"
	"strings"
	"testing"
)

func TestPrintedSources(t *testing.T) {
	file := write(t, "c.yaml", "limits:\n  max_channels: 5\n  max_message: 65536\ncheck_origin: [\"//a.com\"]\ntls: {cert: c.pem}\n")
	c := load(t, []string{"--config=" + file, "--loops=2", "--topics=room:*,lobby"},
		[]string{"MYCELIUM_LOG_LEVEL=warn", "MYCELIUM_TLS_KEY=k3y.pem", "MYCELIUM_METRICS_TOKEN=s3cr3t-s3cr3t-s3cr3t"})
	text, err := c.YAML(true)
	if err != nil {
		t.Fatal(err)
	}
	text = strings.ReplaceAll(text, file, "FILE")
	for _, line := range []string{
		`listen: :4000 # default`,
		`loops: 2 # flag --loops`,
		`topics: ['room:*', lobby] # flag --topics`,
		`check_origin: [//a.com] # file FILE:4`,
		`  level: warn # environment variable MYCELIUM_LOG_LEVEL`,
		`  max_channels: 5 # file FILE:2`,
		`  max_message: 64KiB # file FILE:3`,
		`  timeout: 30s # default`,
		`  off: [] # default`,
		`  token: (hidden) # environment variable MYCELIUM_METRICS_TOKEN`,
		`  cert: c.pem # file FILE:5`,
		`  key: (hidden) # environment variable MYCELIUM_TLS_KEY`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %s in\n%s", line, text)
		}
	}
	if strings.Contains(text, "s3cr3t") || strings.Contains(text, "k3y") {
		t.Errorf("a secret is printed:\n%s", text)
	}
	if without, err := c.YAML(false); err != nil || strings.Contains(without, "#") {
		t.Errorf("sources that were not asked for: %v\n%s", err, without)
	}
	if empty, err := load(t, nil, nil).YAML(false); err != nil || strings.Contains(empty, hidden) {
		t.Errorf("a secret that is not set is hidden: %v\n%s", err, empty)
	}
}

// TestSecretsAreMarked: whoever adds a key with such a name says so.
func TestSecretsAreMarked(t *testing.T) {
	for _, o := range options {
		if o.hides() && !o.secret {
			t.Errorf("%s has the name of a secret and is not marked as one", o.key)
		}
	}
}

func TestWarnings(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", ""},
		{"--check-origin=off", "check_origin (from flag --check-origin): every page may connect with its visitors' cookies; a list of origins lets in those that are meant"},
		{"--idle-timeout=30s", "idle_timeout (from flag --idle-timeout): clients send a heartbeat only every 30s, so this disconnects them; set more than that, for example 60s"},
		{"--idle-timeout=31s", ""},
		{"--log-level=off", "log.level (from flag --log-level): nothing is logged, crashes of channels included; error logs those alone"},
		{"--limits-max-connections=5 --limits-max-connections-per-address=6", "limits.max_connections_per_address (from flag --limits-max-connections-per-address): 6 is more than limits.max_connections, 5, and bounds nothing"},
		{"--limits-max-connections-per-address=6", ""},
		{"--limits-joins-per-second=6 --limits-total-joins-per-second=5", "limits.joins_per_second (from flag --limits-joins-per-second): 6 is more than limits.total_joins_per_second, 5, and bounds nothing"},
		{"--limits-total-joins-per-second=5", ""}, // the other is the default
		{"--limits-bytes-per-second=64KiB", "limits.bytes_per_second (from flag --limits-bytes-per-second): a message of more than 64KiB is never taken, although limits.max_message is 1MiB"},
		{"--limits-bytes-per-second=64KiB --limits-max-message=64KiB", ""},
		{"--topics=room:*,room:1", `topics (from flag --topics): "room:1" is never reached, because "room:*" comes before it`},
		{"--topics=room:1,room:*", ""},
		{"--topics=a,a", `topics (from flag --topics): "a" is never reached, because "a" comes before it`},
		{"--topics=room:* --presence-off=rooms:*", `presence.off (from flag --presence-off): no topic is served that "rooms:*" matches; see topics`},
		{"--topics=room:* --presence-off=room:a:*", ""},
		{"--topics=room:* --presence-diffs-off=*", ""},
		{"--topics=room:* --presence-diffs-off=x", `presence.diffs_off (from flag --presence-diffs-off): no topic is served that "x" matches; see topics`},
		{"--presence-off=a:* --presence-diffs-off=a:b", `presence.diffs_off (from flag --presence-diffs-off): "a:b" has no presence at all, by "a:*" of presence.off`},
		{"--drain-delay=5s --drain-timeout=1ms", "drain.timeout (from flag --drain-timeout): 1ms leaves no time to close sockets with a Close frame; 30s is the default"},
		{"--metrics-token=0123456789abcdef", "metrics.token (from flag --metrics-token): every user of the machine sees the flags of a process; the environment variable MYCELIUM_METRICS_TOKEN and a file are not seen"},
		{"--metrics-listen=:9090 --metrics-allow=0.0.0.0/0", "metrics.allow (from flag --metrics-allow): everybody may read /metrics"},
		{"--metrics-listen=:9090", "metrics.listen (from flag --metrics-listen): :9090 is open to other machines, and metrics.allow and metrics.token let none of them read: only an API key does"},
		{"--metrics-listen=127.0.0.1:9090", ""},
		{"--metrics-listen=[::1]:9090", ""},
		{"--metrics-listen=:9090 --metrics-allow=10.0.0.0/8", ""},
	} {
		got := strings.Join(load(t, strings.Fields(c.args), nil).Warnings, "\n")
		if got != c.want {
			t.Errorf("%s\n%s\nwant\n%s", c.args, got, c.want)
		}
	}
}

func TestNetworks(t *testing.T) {
	const addresses = "10.1.2.3/8,::1,192.0.2.1"
	c := load(t, []string{"--metrics-listen=:9090", "--metrics-allow=" + addresses, "--trusted-proxies=" + addresses}, nil)
	for _, got := range [][]netip.Prefix{c.Metrics.Networks(), c.Proxies()} {
		if len(got) != 3 || got[0].String() != "10.0.0.0/8" || got[1].String() != "::1/128" || got[2].String() != "192.0.2.1/32" {
			t.Errorf("%v", got)
		}
	}
}
