package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/mycelium-rt/mycelium/cluster/natscluster"
	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/history/natsstream"
	"github.com/mycelium-rt/mycelium/internal/config"
	"github.com/mycelium-rt/mycelium/internal/logging"
)

// durableHistory is the stream that keeps the messages of durable rules.
type durableHistory struct {
	*natsstream.Stream
	local  *localStream // nil: the stream is the cluster's
	opened time.Time
}

const (
	// loadTime is how long a node on its own may take to read what is stored before it
	// serves clients.
	loadTime = 5 * time.Minute
	// joinTime is how long a node of a cluster is not ready because it has not read what is
	// stored. It serves clients without if most of the other nodes do not run.
	joinTime = 30 * time.Second
	// answerTime is how long a server that stops waits for what is being stored.
	answerTime = 5 * time.Second
)

// notDurable returns why messages cannot be stored with this configuration, "" if they
// can.
func notDurable(cfg *config.Config) string {
	switch k := cfg.Cluster; {
	case k.Enabled() && k.Embedded() && !k.SharesInstances():
		return "the nodes of this cluster keep nothing together: set cluster.instances to shared, or make it false"
	case !k.Enabled() && cfg.Data == "":
		return "there is no directory for data: set one, for example --data=/var/lib/mycelium, or make it false"
	}
	return ""
}

// openDurable gives the history a place for durable messages: a stream of the cluster, or
// one of a JetStream of this process. It is opened with the first rule that is durable.
func (d *daemon) openDurable(t *natscluster.Transport) {
	if notDurable(d.cfg) != "" {
		return
	}
	log := logging.NewLog(&d.log)
	o := natsstream.Options{MaxBytes: int64(d.cfg.History.Disk), OnTrouble: func(err error) {
		if err != nil {
			log.Warn("the durable history cannot be used").Err(err).Write()
			return
		}
		log.Info("the durable history is open").Write()
	}}
	h := &durableHistory{opened: time.Now()}
	if t != nil {
		name := d.cfg.Cluster.Name
		o.Name, o.Prefix = "mycelium_"+name+"_history", "mycelium."+name+".history"
		o.Open, o.Replicas = t.OpenJetStream, t.Replicas
	} else {
		h.local = &localStream{dir: filepath.Join(d.cfg.Data, durableDir), log: log}
		o.Open = h.local.open
	}
	h.Stream = natsstream.New(d.history, o)
	d.durable = h
}

// durableDir is the directory of a single node's JetStream, in that of its data. That of
// a cluster is another one: streams of the one kind cannot be used by the other.
const durableDir = "durable"

// localStream is the JetStream of a single node, in this process and without a listener.
type localStream struct {
	// Static.
	dir string
	log *logging.Log

	mu        sync.Mutex
	transport *natscluster.Transport // nil: not open; guarded by mu
}

// open implements natsstream.Options.Open. JetStream does not write any more after the
// disk was full, so then it is started again.
func (l *localStream) open() (natsstream.JetStream, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.transport != nil && l.transport.JetStreamHealth() != nil {
		l.transport.Close() //nolint:errcheck // it is started again
		l.transport = nil
	}
	if l.transport == nil {
		t, err := natscluster.Embed(natscluster.EmbedOptions{
			Cluster: "local", Name: "mycelium", StoreDir: l.dir,
			Log: func(line string) { l.log.Warn("durable history").Str("line", line).Write() },
		})
		if err != nil {
			return nil, err
		}
		l.transport = t
	}
	return l.transport.OpenJetStream()
}

func (l *localStream) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.transport == nil {
		return nil
	}
	return l.transport.Close()
}

// load waits, on a single node, until what is stored has been read. A node of a cluster
// starts without: most of the others must run for that.
func (h *durableHistory) load(ctx context.Context) error {
	if h == nil || h.local == nil || !h.Wanted() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, loadTime)
	defer cancel()
	if err := h.Loaded(ctx); err != nil {
		return fmt.Errorf("the durable history: %w", err)
	}
	return nil
}

var errDurableLoading = errors.New("the durable history is not read yet")

// ready returns why this node is not ready, nil if it is.
func (h *durableHistory) ready() error {
	if h == nil || !h.Wanted() || h.IsLoaded() || time.Since(h.opened) > joinTime {
		return nil
	}
	if err := h.Trouble(); err != nil {
		return fmt.Errorf("%w: %w", errDurableLoading, err)
	}
	return errDurableLoading
}

// close waits for what is being stored, for a while.
func (h *durableHistory) close(ctx context.Context) error {
	if h == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	err := h.Close(ctx)
	if h.local != nil {
		err = errors.Join(err, h.local.close())
	}
	return err
}

// checkStore is a history.Store for specs that are only checked.
func checkStore(cfg *config.Config) *history.Store {
	s := history.NewStore(history.Options{})
	if notDurable(cfg) == "" {
		s.Persist(nowhere{})
	}
	return s
}

// nowhere is a history.Durable for specs that are only checked.
type nowhere struct{ history.Durable }
