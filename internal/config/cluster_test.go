package config

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// TestClusterTogether: options of a cluster that do not go together are errors, each of
// which says what would be right.
func TestClusterTogether(t *testing.T) {
	const embedded = "--cluster-name=prod --cluster-listen=:6222 --cluster-secret-file=s"
	for _, c := range []struct{ args, want string }{
		{"--cluster-listen=:6222", "cluster.listen is set (from flag --cluster-listen) and cluster.name is not, so it has no effect; set the same name on all nodes, for example --cluster-name=prod"},
		{"--cluster-size=3", "cluster.size is set (from flag --cluster-size) and cluster.name is not, so it has no effect; set the same name on all nodes, for example --cluster-name=prod"},
		{"--cluster-name=prod", "cluster.name is set (from flag --cluster-name) and neither cluster.listen nor cluster.nats_url is; nodes reach each other by one of them, for example --cluster-listen=:6222"},
		{embedded + " --cluster-nats-url=nats://a:4222", "cluster.listen (from flag --cluster-listen) and cluster.nats_url (from flag --cluster-nats-url) are both set; set one of them: cluster.listen connects the nodes directly, cluster.nats_url through your NATS servers"},
		{"--cluster-name=prod --cluster-listen=:6222", "cluster.listen is set (from flag --cluster-listen) and cluster.secret_file is not; whoever reaches the port must prove that it is a node, for example --cluster-secret-file=/etc/mycelium/cluster.secret"},
		{embedded + " --cluster-nats-creds=c", "cluster.nats_creds is set (from flag --cluster-nats-creds) and cluster.nats_url is not, so it has no effect; nodes that connect by cluster.listen authenticate with cluster.secret_file"},
		{"--cluster-name=prod --cluster-nats-url=nats://a:4222 --cluster-insecure=true", "cluster.insecure is set (from flag --cluster-insecure) and cluster.listen is not, so it has no effect; with cluster.nats_url, set cluster.nats_creds or the TLS files cluster.nats_ca, cluster.nats_cert and cluster.nats_key"},
		{embedded + " --cluster-instances=shared --cluster-routes=nats://a:6222 --cluster-size=3", "cluster.instances is shared (from flag --cluster-instances) and data is not set; each node keeps its part there, for example --data=/var/lib/mycelium"},
		{embedded + " --cluster-instances=shared --data=d --cluster-size=3", "cluster.instances is shared (from flag --cluster-instances) and cluster.routes is not set; all nodes take the same list, for example --cluster-routes=nats://node-1:6222,nats://node-2:6222,nats://node-3:6222"},
		{embedded + " --cluster-instances=shared --data=d --cluster-routes=nats://a:6222 --cluster-size=1", "cluster.instances is shared (from flag --cluster-instances) and cluster.size is 1; a majority of the nodes decides, so that each must know how many there are, for example --cluster-size=3"},
		{"--cluster-name=prod --cluster-nats-url=nats://localhost:4222 --cluster-instances=shared", "cluster.instances is shared (from flag --cluster-instances) and cluster.secret_file is not set; nodes prove with it what they ask of each other, for example --cluster-secret-file=/etc/mycelium/cluster.secret"},
		{"--cluster-instances=shared", "cluster.instances is set (from flag --cluster-instances) and cluster.name is not, so it has no effect; set the same name on all nodes, for example --cluster-name=prod"},
		{"--cluster-name=prod --cluster-nats-url=nats://a:4222 --cluster-nats-key=k", "one of cluster.nats_cert and cluster.nats_key is set and the other is not; TLS needs both"},
		{embedded + " --listen=:6222", "cluster.listen (from flag --cluster-listen) is :6222, and listen is :6222; each takes a port of its own"},
		{embedded + " --metrics-listen=127.0.0.1:6222", "cluster.listen (from flag --cluster-listen) is :6222, and metrics.listen is 127.0.0.1:6222; each takes a port of its own"},
		{embedded + " --cluster-routes=node-2:6222", `cluster.routes: "node-2:6222" (from flag --cluster-routes) is not a NATS address; it takes addresses such as nats://HOST:PORT, for example nats://node-1:6222,nats://node-2:6222`},
		{embedded + " --cluster-routes=nats://node-2", `cluster.routes: "nats://node-2" (from flag --cluster-routes) does not have a port from 1 to 65535; it takes addresses such as nats://HOST:PORT, for example nats://node-1:6222,nats://node-2:6222`},
		{embedded + " --cluster-name=a.b", `cluster.name: "a.b" (from flag --cluster-name) is not a valid cluster name; it takes 1 to 64 letters, digits, _ and -, for example prod`},
		{embedded + " --cluster-node=a/b", `cluster.node: "a/b" (from flag --cluster-node) is not a valid node name; it takes 1 to 128 letters, digits, dots, _ and -, for example node-1`},
	} {
		_, err := Load(strings.Fields(c.args), nil)
		var wrong *Error
		if !errors.As(err, &wrong) || !slices.Equal(wrong.Problems, []string{c.want}) {
			t.Errorf("%s: %v\nwant %s", c.args, err, c.want)
		}
	}
	for _, args := range []string{
		embedded,
		embedded + " --listen=127.0.0.1:0 --cluster-listen=127.0.0.1:0",
		embedded + " --cluster-listen=127.0.0.1:4000 --listen=127.0.0.2:4000",
		embedded + " --cluster-routes=nats://a:6222,nats://b:6222 --cluster-node=a --cluster-size=2",
		embedded + " --cluster-instances=shared --data=d --cluster-routes=nats://a:6222 --cluster-size=3",
		"--cluster-name=prod --cluster-nats-url=tls://a:4222 --cluster-instances=shared --cluster-secret-file=s",
		"--cluster-name=prod --cluster-nats-url=tls://a:4222,tls://b:4222 --cluster-secret-file=s --cluster-nats-creds=c --cluster-nats-ca=ca --cluster-nats-cert=c --cluster-nats-key=k",
	} {
		if c := load(t, strings.Fields(args), nil); len(c.Warnings) > 0 {
			t.Errorf("%s: warnings %q", args, c.Warnings)
		}
	}
}

// TestClusterWarnings: what crosses a network unencrypted is said, and what other machines
// cannot reach.
func TestClusterWarnings(t *testing.T) {
	const embedded = "--cluster-name=prod --cluster-secret-file=s --cluster-insecure=true "
	const insecure = "cluster.insecure (from flag --cluster-insecure): what clients send each other crosses the network unencrypted; cluster.secret_file alone encrypts it"
	const alone = "cluster.listen (from flag --cluster-listen): only this machine reaches 127.0.0.1:6222, and cluster.routes has nodes of others; :PORT listens on all addresses"
	for args, want := range map[string]string{
		embedded + "--cluster-listen=:6222":                                              insecure,
		embedded + "--cluster-listen=127.0.0.1:6222 --cluster-routes=nats://node-2:6222": insecure + "\n" + alone,
		embedded + "--cluster-listen=127.0.0.1:6222 --cluster-routes=nats://localhost:1": "",
		"--cluster-name=prod --cluster-secret-file=s --cluster-listen=:6222 --cluster-instances=shared --data=d --cluster-routes=nats://a:6222 --cluster-size=2": "cluster.size (from flag --cluster-size): of 2 nodes one alone is no majority: while the other is away, shared instances stop; of 3 nodes one may be away",
		"--cluster-name=prod --cluster-nats-url=nats://10.0.0.1:4222":                                                                                            "cluster.nats_url (from flag --cluster-nats-url): nats://10.0.0.1:4222 is not encrypted unless the server asks for it; tls:// always is",
		"--cluster-name=prod --cluster-nats-url=nats://u:pw@10.0.0.1:4222":                                                                                       "cluster.nats_url (from flag --cluster-nats-url): nats://***@10.0.0.1:4222 is not encrypted unless the server asks for it; tls:// always is",
		"--cluster-name=prod --cluster-nats-url=nats://127.0.0.1:4222":                                                                                           "",
		"--cluster-name=prod --cluster-nats-url=nats://10.0.0.1:4222 --cluster-nats-ca=ca":                                                                       "",
	} {
		got := load(t, strings.Fields(args), nil).Warnings
		if want == "" && len(got) > 0 || want != "" && strings.Join(got, "\n") != want {
			t.Errorf("%s: warnings %q, want %q", args, got, want)
		}
	}
}
