package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCheckCluster: the check finds what would keep serve from joining.
func TestCheckCluster(t *testing.T) {
	dir := t.TempDir()
	right, short, open := filepath.Join(dir, "right"), filepath.Join(dir, "short"), filepath.Join(dir, "open")
	writeFile(t, right, strings.Repeat("s", 32)+"\n")
	writeFile(t, short, strings.Repeat("s", 31)+"\n")
	writeFile(t, open, strings.Repeat("s", 32))
	if err := os.Chmod(right, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	certify(t, filepath.Join(dir, "cert"), filepath.Join(dir, "key"), 1)
	certify(t, filepath.Join(dir, "cert2"), filepath.Join(dir, "key2"), 2)
	embedded := func(secret string) []string {
		return []string{"--listen=127.0.0.1:0", "--cluster-name=prod", "--cluster-node=a", "--cluster-listen=127.0.0.1:0", "--cluster-secret-file=" + secret}
	}
	external := []string{"--listen=127.0.0.1:0", "--cluster-name=prod", "--cluster-node=a", "--cluster-nats-url=tls://127.0.0.1:1"}
	for _, c := range []struct {
		args []string
		want string
	}{
		{embedded(filepath.Join(dir, "none")), `cluster.secret_file (from flag --cluster-secret-file): "DIR/none" cannot be read: no such file or directory`},
		{embedded(short), `cluster.secret_file (from flag --cluster-secret-file): "DIR/short" has 31 bytes; it takes a secret of 32 or more: "openssl rand -hex 32" makes one`},
		{append(embedded(right), "--cluster-forward-listen=192.0.2.1:6223"), `cluster.forward_listen (from flag --cluster-forward-listen): "192.0.2.1:6223" cannot be listened on: `},
		{append(embedded(right), "--cluster-listen=192.0.2.1:6222"), `cluster.listen (from flag --cluster-listen): "192.0.2.1:6222" cannot be listened on: `},
		{append(external, "--cluster-nats-creds=DIR/none"), `cluster.nats_creds (from flag --cluster-nats-creds): "DIR/none" cannot be read: no such file or directory`},
		{append(external, "--cluster-nats-ca=DIR/key"), `cluster.nats_ca (from flag --cluster-nats-ca): "DIR/key" has no certificate in PEM`},
		{append(external, "--cluster-nats-cert=DIR/cert", "--cluster-nats-key=DIR/key2"), `cluster.nats_cert (from flag --cluster-nats-cert) and cluster.nats_key (from flag --cluster-nats-key): tls: private key does not match public key`},
		{append(external, "--cluster-nats-cert=DIR/cert", "--cluster-nats-key=DIR/none"), `cluster.nats_key (from flag --cluster-nats-key): "DIR/none" cannot be read: no such file or directory`},
	} {
		args := make([]string, len(c.args))
		for i, arg := range c.args {
			args[i] = strings.ReplaceAll(arg, "DIR", dir)
		}
		want := strings.ReplaceAll(c.want, "DIR", dir)
		if said := problemsOf(t, nil, args...); !strings.HasPrefix(said, want) || strings.Count(said, "\n") != 1 {
			t.Errorf("%q: %s\nwant %s", args, said, want)
		}
	}
	for secret, want := range map[string]string{
		right: "",
		open:  `warning: cluster.secret_file (from flag --cluster-secret-file): every user of this machine can read "` + open + `", and join the cluster; "chmod o-r" keeps it from them` + "\n",
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), append([]string{"config", "check"}, embedded(secret)...), nil, &stdout, &stderr); code != 0 || stderr.String() != want {
			t.Errorf("%s: exit %d: %s, want %s", secret, code, &stderr, want)
		}
	}
}

// TestClusterUnreachable: a node that cannot reach its NATS servers at the start does not
// start, and says so.
func TestClusterUnreachable(t *testing.T) {
	var stderr buffer
	code := run(t.Context(), []string{"serve", "--listen=127.0.0.1:0", "--cluster-name=prod", "--cluster-node=a", "--cluster-nats-url=nats://127.0.0.1:1"},
		[]string{"XDG_RUNTIME_DIR=" + t.TempDir()}, new(bytes.Buffer), &stderr)
	if code != 1 || !strings.Contains(stderr.String(), "connecting to NATS") {
		t.Errorf("exit %d: %s", code, &stderr)
	}
}

// TestClusterCommand: "mycelium cluster" says which arguments it does not take.
func TestClusterCommand(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"cluster"}, 2, "mycelium cluster: missing command; the commands are remove"},
		{[]string{"cluster", "remove"}, 2, "mycelium cluster remove: missing name of the node"},
		{[]string{"cluster", "remove", "--config=c.yaml"}, 2, "mycelium cluster remove: missing name of the node"},
		{[]string{"cluster", "remove", "a", "--cluster-size=no"}, 2, `cluster.size: "no"`},
		{[]string{"cluster", "remove", "a"}, 1, "mycelium cluster remove: nothing to remove: nodes keep copies only with cluster.listen and cluster.instances=shared"},
		{[]string{"cluster", "remove", "--help"}, 0, "mycelium cluster manages the nodes"},
	} {
		if code, text := runCommand(t, c.args...); code != c.code || !strings.Contains(text, c.want) {
			t.Errorf("%q: %d %s, want %d %s", c.args, code, text, c.code, c.want)
		}
	}
}
