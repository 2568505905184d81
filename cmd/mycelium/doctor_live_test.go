package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/cluster"
	"github.com/mycelium-rt/mycelium/cluster/natscluster"
	"github.com/mycelium-rt/mycelium/internal/addrtest"
	"github.com/mycelium-rt/mycelium/internal/doctor"
	"github.com/mycelium-rt/mycelium/internal/membership"
	"github.com/mycelium-rt/mycelium/internal/natstest"
	"github.com/mycelium-rt/mycelium/internal/waittest"
)

// liveCheck runs the doctor and returns the check of a name.
func liveCheck(t *testing.T, name string, args ...string) doctor.Check {
	t.Helper()
	var stdout, stderr bytes.Buffer
	run(t.Context(), append([]string{"doctor", "--connections=1", "--json", "--cluster-name=test", "--cluster-node=doctor"}, args...), nil, &stdout, &stderr)
	var r doctor.Report
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		t.Fatalf("%v\n%s%s", err, &stdout, &stderr)
	}
	i := slices.IndexFunc(r.Cluster, func(c doctor.Check) bool { return c.Name == name })
	if i < 0 {
		return doctor.Check{Why: fmt.Sprintf("no check %s in %+v", name, r.Cluster)}
	}
	return r.Cluster[i]
}

// runCommand returns the exit code of a command, and all that it prints.
func runCommand(t *testing.T, args ...string) (code int, text string) {
	t.Helper()
	var out bytes.Buffer
	code = run(t.Context(), args, nil, &out, &out)
	return code, out.String()
}

// TestDoctorClocks: a node whose clock is wrong is found, and one whose clock is right is not.
func TestDoctorClocks(t *testing.T) {
	if !fileExists("/proc/sys") {
		t.Skip("the doctor needs Linux")
	}
	t.Parallel()
	nats := natstest.Start(t)
	for name, ahead := range map[string]time.Duration{"right": 0, "early": -time.Hour, "late": 5 * time.Second} {
		transport, err := natscluster.Connect("test", nats.URL())
		if err != nil {
			t.Fatal(err)
		}
		node, err := cluster.Start(transport, cluster.SystemClock(), cluster.Options{Name: name, Info: func() []byte {
			return membership.Facts{Time: time.Now().Add(ahead).UnixMilli()}.Encode()
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer node.Close()
	}
	url := "--cluster-nats-url=" + nats.URL()
	// The doctor listens for a while, in which a busy machine may keep a node from saying anything.
	waittest.For(t, "a check to hear all nodes", func() bool {
		c := liveCheck(t, "nodes", url)
		return c.Status == doctor.OK && c.Value == "early, late, right"
	})
	for name, side := range map[string]string{"early": " behind this machine's", "late": " ahead of this machine's"} {
		waittest.For(t, "the clock of "+name+" to be found wrong", func() bool {
			c := liveCheck(t, "clock of "+name, url)
			return c.Status == doctor.Failed && strings.HasSuffix(c.Value, side) && !strings.HasPrefix(c.Value, "-")
		})
	}
}

// TestDoctorStore: who keeps the store is shown, and that a wrong secret lets nobody in.
func TestDoctorStore(t *testing.T) {
	if !fileExists("/proc/sys") {
		t.Skip("the doctor needs Linux")
	}
	t.Parallel()
	a, b := addrtest.Free(t), addrtest.Free(t)
	flags := slices.Concat(embedded(t)[1:], []string{"--cluster-instances=shared", "--cluster-size=2", "--cluster-routes=nats://" + a + ",nats://" + b})
	var nodes []*node
	for name, peers := range map[string]string{"a": a, "b": b} {
		nodes = append(nodes, startNode(t, name, slices.Concat(flags, []string{"--cluster-listen=" + peers, "--data=" + t.TempDir()})...))
	}
	for _, n := range nodes {
		wait(t, "it is ready", func() bool { status, _ := n.ready(t); return status == http.StatusOK })
	}
	ask := slices.Concat(flags, []string{"--cluster-listen=" + addrtest.Free(t), "--data=" + t.TempDir()})
	waittest.For(t, "a check to find the store", func() bool {
		c := liveCheck(t, "store of instances", ask...)
		return c.Status == doctor.OK && (c.Value == "kept by a" || c.Value == "kept by b")
	})
	if c := liveCheck(t, "data", ask...); !strings.HasSuffix(c.Value, " free") || c.Status == doctor.Failed {
		t.Errorf("%+v", c)
	}
	waittest.For(t, "a check to hear both nodes", func() bool {
		c := liveCheck(t, "nodes", ask...)
		return c.Status == doctor.OK && c.Value == "a, b"
	})
	if code, text := runCommand(t, append([]string{"cluster", "remove", "c", "--cluster-name=test", "--cluster-node=x"}, ask...)...); code != 1 ||
		text != "mycelium cluster remove: no node of this name keeps anything\n" {
		t.Errorf("a node that never was is removed: %d %s", code, text)
	}
	other := filepath.Join(t.TempDir(), "secret")
	writeFile(t, other, strings.Repeat("x", 32))
	if c := liveCheck(t, "nodes", append(ask, "--cluster-secret-file="+other)...); c.Status != doctor.Failed || !strings.Contains(c.Why, "another secret") {
		t.Errorf("%+v", c)
	}
}
