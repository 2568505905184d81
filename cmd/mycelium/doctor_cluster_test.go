package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/addrtest"
	"github.com/mycelium-rt/mycelium/internal/doctor"
	"github.com/mycelium-rt/mycelium/internal/natstest"
)

// TestDoctorCluster: what a node needs of its cluster is tried, and what is wrong is said.
func TestDoctorCluster(t *testing.T) {
	if !fileExists("/proc/sys") {
		t.Skip("the doctor needs Linux")
	}
	t.Parallel()
	dir := t.TempDir()
	secret, short := filepath.Join(dir, "secret"), filepath.Join(dir, "short")
	for file, n := range map[string]int{secret: 32, short: 31} {
		if err := os.WriteFile(file, bytes.Repeat([]byte("s"), n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	there, refuses := other.Addr().String(), addrtest.Free(t)
	right, small := natstest.StartGuarded(t, "mycelium.prod", 1<<20), natstest.StartGuarded(t, "mycelium.prod", 1<<10)
	open := natstest.Start(t)
	embedded := func(more ...string) []string {
		return append([]string{"--cluster-name=prod", "--cluster-node", "a", "--cluster-listen=127.0.0.1:0", "--cluster-secret-file=" + secret}, more...)
	}
	external := func(urls string) []string {
		return []string{"--cluster-name=prod", "--cluster-node=a", "--cluster-nats-url=" + urls}
	}
	const nobody = "\nadvice nodes none is heard (none runs yet, or none can be reached)"
	file := filepath.Join(dir, "mycelium.yaml")
	yaml := "cluster: {name: prod, node: a, nats_url: [\"" + open.URL() + "\"]}\n"
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args, environ []string
		want          string // status, name, value and why of each check after the files'
		files         doctor.Status
		filesWhy      string
	}{
		"alone": {args: embedded(), want: "ok cluster.listen 127.0.0.1:0 is free"},
		"running": {
			args: embedded("--cluster-listen="+there, "--cluster-routes=nats://"+there+",nats://"+refuses),
			want: "ok cluster.listen " + there + " is in use: by this node, if it runs\n" +
				"ok route " + there + ": 1 of 1 addresses reached\n" +
				"advice route " + refuses + ": 0 of 1 addresses reached (127.0.0.1 refuses connections: no node runs there yet, or it listens on another port)" + nobody,
		},
		"no such name": {
			args: embedded("--cluster-routes=nats://node.invalid:6222"),
			want: "ok cluster.listen 127.0.0.1:0 is free\nfailed route node.invalid:6222 (the name cannot be resolved: ",
		},
		"an address of another machine": {
			args: embedded("--cluster-listen=192.0.2.1:6222"), want: "failed cluster.listen 192.0.2.1:6222 (cannot listen on it: ",
		},
		"a short secret": {
			args: embedded("--cluster-secret-file=" + short), want: "ok cluster.listen 127.0.0.1:0 is free",
			files: doctor.Failed, filesWhy: "has 31 bytes",
		},
		"NATS":           {args: external("nats://node:pw@" + right), want: "ok cluster.nats_url nats://" + right + nobody},
		"NATS of a file": {args: []string{"--config", file}, want: "ok cluster.nats_url " + open.URL() + nobody},
		"NATS of a variable": {
			environ: []string{"MYCELIUM_CLUSTER_NAME=prod", "MYCELIUM_CLUSTER_NODE=a", "MYCELIUM_CLUSTER_NATS_URL=" + open.URL()}, want: "ok cluster.nats_url " + open.URL() + nobody,
		},
		"a wrong password": {args: external("nats://node:no@" + right), want: "failed cluster.nats_url nats://" + right + " (connecting to NATS: nats: Authorization Violation"},
		"no permission": {
			args: external("nats://mute:pw@" + right), want: "failed cluster.nats_url nats://" + right + " (the credentials must allow publishing and subscribing to mycelium.prod.>: ",
		},
		"small messages": {args: external("nats://node:pw@" + small), want: "failed cluster.nats_url nats://" + small + " (the NATS server's max_payload is 1024 bytes, want at least 61440"},
		"one of two servers": {
			args: external(open.URL() + ",nats://" + refuses), want: "ok cluster.nats_url " + open.URL() + "\nfailed cluster.nats_url nats://" + refuses + " (connecting to NATS: " + nobody,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			args := append([]string{"doctor", "--connections=1", "--json"}, c.args...)
			code := run(t.Context(), args, c.environ, &stdout, &stderr)
			var r doctor.Report
			if err := json.Unmarshal(stdout.Bytes(), &r); err != nil || stderr.Len() > 0 || r.ClusterName != "prod" || len(r.Cluster) == 0 {
				t.Fatalf("exit %d: %v\n%s%s", code, err, &stdout, &stderr)
			}
			wantFiles := c.files
			if wantFiles == "" {
				wantFiles = doctor.OK
			}
			if first := r.Cluster[0]; first.Status != wantFiles || !strings.Contains(first.Why, c.filesWhy) {
				t.Errorf("the files: %+v", first)
			}
			got, bad := []string{}, wantFiles == doctor.Failed
			for _, check := range r.Cluster[1:] {
				line := fmt.Sprintf("%s %s %s", check.Status, check.Name, check.Value)
				if check.Status != doctor.OK {
					line += " (" + check.Why + ")"
				}
				got, bad = append(got, line), bad || check.Status == doctor.Failed
			}
			want := strings.Split(c.want, "\n")
			if len(got) != len(want) {
				t.Fatalf("%q\nwant %q", got, want)
			}
			for i := range got {
				if !strings.HasPrefix(got[i], want[i]) {
					t.Errorf("%s\nwant %s", got[i], want[i])
				}
			}
			if r.OK == bad || (code == 0) == bad {
				t.Errorf("exit %d, ok %v, with %q", code, r.OK, got)
			}
			if strings.Contains(stdout.String(), "pw@") {
				t.Error("a password is shown")
			}
		})
	}
}

// TestDoctorWaits: an address that does not answer is given up, and the others are not
// waited for one after the other.
func TestDoctorWaits(t *testing.T) {
	if !fileExists("/proc/sys") {
		t.Skip("the doctor needs Linux")
	}
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing, as no NATS server does
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	urls := strings.TrimSuffix(strings.Repeat("nats://"+silent.Addr().String()+",", 20), ",")
	var stdout, stderr bytes.Buffer
	began := time.Now()
	code := run(t.Context(), []string{"doctor", "--connections=1", "--cluster-name=prod", "--cluster-node=a", "--cluster-nats-url=" + urls}, nil, &stdout, &stderr)
	if code != 1 || strings.Count(stdout.String(), "FAILED") != 20 || !strings.Contains(stdout.String(), "For a node of the cluster prod:") {
		t.Errorf("exit %d:\n%s%s", code, &stdout, &stderr)
	}
	if took := time.Since(began); took > 30*time.Second { // 20 times 3 s, one after the other
		t.Errorf("took %s", took)
	}
}
