package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/mycelium-rt/mycelium/cluster/natscluster"
	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/history/natsstream"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/internal/config"
	"github.com/mycelium-rt/mycelium/internal/doctor"
	"github.com/mycelium-rt/mycelium/internal/logging"
	"github.com/mycelium-rt/mycelium/internal/strictjson"
	"github.com/mycelium-rt/mycelium/units"
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
	// restartDisk is what must be free before JetStream is started again after the disk was
	// full, in bytes.
	restartDisk = 1 << 20
	// quietTime is how long a cluster that starts may take to elect leaders.
	quietTime = 20 * time.Second
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
	log, h := logging.NewLog(&d.log), &durableHistory{opened: time.Now()}
	o := natsstream.Options{MaxBytes: int64(d.cfg.History.Disk), OnTrouble: func(err error) {
		switch {
		case err == nil:
			log.Info("the durable history is open").Write()
		case t != nil && time.Since(h.opened) < quietTime:
			log.Info("the durable history is not open yet: it opens when most of the nodes run").Str("reason", err.Error()).Write()
		default:
			log.Warn("the durable history cannot be used: messages of rules with durable are refused").Err(err).Write()
		}
	}}
	if t != nil {
		name := d.cfg.Cluster.Name
		o.Name, o.Prefix = "mycelium_"+name+"_history", "mycelium."+name+".history"
		o.Open, o.Replicas = t.OpenJetStream, t.Replicas
	} else {
		h.local = &localStream{dir: filepath.Join(d.cfg.Data, durableDir), log: log}
		o.Open, o.Health = h.local.open, h.local.health
	}
	h.Stream = natsstream.New(d.history, o)
	d.durable = h
}

// durableDir is the directory of a single node's JetStream, in that of its data. That of
// a cluster is another one: streams of the one kind cannot be used by the other.
const durableDir = "durable"

var errDiskFull = errors.New("the disk is full")

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
		if free, known, err := freeDisk(l.dir); err == nil && known && free < restartDisk {
			return nil, errDiskFull
		}
		l.transport.Close()
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

// health implements natsstream.Options.Health.
func (l *localStream) health() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.transport == nil {
		return nil
	}
	return l.transport.JetStreamHealth()
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

// hasDurable reports whether a rule of the configuration is durable.
func hasDurable(cfg *config.Config) bool {
	durable := func(r instances.HistoryRule) bool { return r.Durable }
	if slices.ContainsFunc(historyRules(cfg), durable) {
		return true
	}
	for _, text := range cfg.Instances {
		var spec instances.Spec
		if text != nil && strictjson.Decode(text, &spec) == nil && slices.ContainsFunc(spec.History, durable) {
			return true
		}
	}
	return false
}

// examineDurable adds a check of the place for durable messages to a report.
func examineDurable(cfg *config.Config, r *doctor.Report) {
	if !hasDurable(cfg) {
		return
	}
	c := doctor.Check{Name: "durable history", Status: doctor.OK, Value: units.Bytes(cfg.History.Disk).String(), Why: "history.disk: messages of rules with durable are refused above it"}
	if cfg.Cluster.Enabled() {
		c.Value += " on each of three servers"
	}
	if why := notDurable(cfg); why != "" {
		c.Status, c.Why = doctor.Failed, "a rule has durable: "+why
	} else if cfg.Data != "" && len(cfg.Cluster.NATSURL) == 0 { // otherwise the disks are those of the NATS servers
		c = withRoom(c, cfg)
	}
	r.AddCheck(c)
}

// withRoom returns the check with what the disk says.
func withRoom(c doctor.Check, cfg *config.Config) doctor.Check {
	free, known, err := freeDisk(cfg.Data)
	if err == nil {
		err = checkData(cfg.Data)
	}
	switch {
	case err != nil:
		c.Status, c.Why = doctor.Failed, "the directory "+err.Error()
	case known && free < littleDisk:
		c.Status = doctor.Failed
		c.Why = fmt.Sprintf("the disk has only %s free: when it is full, messages of rules with durable are refused", units.Bytes(int(free>>10<<10)))
	case known && free/4*3 < int64(cfg.History.Disk): // as much as JetStream takes
		c.Status, c.Why = doctor.Advice, fmt.Sprintf("the disk has %s free: a server whose disk has less than a third more than history.disk when it begins to keep messages refuses them; make it smaller, or the disk larger",
			units.Bytes(int(free>>20<<20)))
	}
	return c
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
