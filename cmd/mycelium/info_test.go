//go:build unix

package main

import (
	"errors"
	"testing"

	"github.com/mycelium-rt/mycelium/cluster/natscluster"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/internal/config"
	"github.com/mycelium-rt/mycelium/internal/logging"
	"github.com/mycelium-rt/mycelium/internal/natstest"
	"github.com/mycelium-rt/mycelium/internal/waittest"
)

// openDaemon returns a server that has opened everything but its ports. The test closes it.
func openDaemon(t *testing.T, args ...string) (*daemon, *loaded) {
	t.Helper()
	cfg, err := config.Load(args, nil)
	if err != nil {
		t.Fatal(err)
	}
	first, err := checkAlone(cfg)
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{args: args, environ: []string{"XDG_RUNTIME_DIR=" + t.TempDir()}, cfg: cfg, output: openOutput(new(buffer)), level: new(logging.Level)}
	t.Cleanup(d.output.close)
	if err := d.openLog(cfg.Log); err != nil {
		t.Fatal(err)
	}
	if err := d.open(first); err != nil {
		t.Fatal(err)
	}
	return d, first
}

// TestInfoOfUnknown: events of an instance are removed only if it does not exist, and not because this node does not
// know it yet.
func TestInfoOfUnknown(t *testing.T) {
	t.Parallel()
	d, _ := openDaemon(t, "--listen=127.0.0.1:0")
	defer func() {
		if err := d.close(); err != nil {
			t.Error(err)
		}
	}()
	asked := &daemon{instances: d.instances, cluster: new(clusterNode)}
	if _, err := asked.infoOf("gone"); !errors.Is(err, instances.ErrNotFound) {
		t.Errorf("a node with instances of its own: %v, want %v", err, instances.ErrNotFound)
	}
	transport, err := natscluster.Connect("test", "nats://node:pw@"+natstest.StartStreams(t, 2<<20, ">"))
	if err != nil {
		t.Fatal(err)
	}
	defer transport.Close()
	store := openShared(transport, "test", logging.NewLog(&d.log))
	defer store.Close()
	asked.cluster.store = store
	if _, err := asked.infoOf("gone"); err == nil || errors.Is(err, instances.ErrNotFound) && store.look().Trouble != "" {
		t.Errorf("before the store is open: %v", err)
	}
	waittest.For(t, "the store to be open", func() bool { return store.look().Trouble == "" })
	if _, err := store.Put(t.Context(), specPrefix+"there", []byte("{}"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := asked.infoOf("there"); err == nil || errors.Is(err, instances.ErrNotFound) {
		t.Errorf("an instance that this node has not learned of: %v, want another error than %v", err, instances.ErrNotFound)
	}
	if _, err := asked.infoOf("gone"); !errors.Is(err, instances.ErrNotFound) {
		t.Errorf("one that the store does not have: %v, want %v", err, instances.ErrNotFound)
	}
}
