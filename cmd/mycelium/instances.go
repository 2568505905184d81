package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"github.com/mycelium-rt/mycelium/auth"
	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/instances/boltstore"
	"github.com/mycelium-rt/mycelium/instances/chat"
	"github.com/mycelium-rt/mycelium/instances/collab"
	"github.com/mycelium-rt/mycelium/instances/game"
	"github.com/mycelium-rt/mycelium/instances/realtime"
	"github.com/mycelium-rt/mycelium/instances/relay"
	"github.com/mycelium-rt/mycelium/internal/config"
	"github.com/mycelium-rt/mycelium/internal/nodekey"
	"github.com/mycelium-rt/mycelium/internal/strictjson"
	"github.com/mycelium-rt/mycelium/units"
)

// defaultInstance is the id of the instance that the configuration describes.
// Clients also reach it without an id.
const defaultInstance = "default"

// specPrefix begins the keys of instances in a store (package instances, record.go).
const specPrefix = "spec."

// openStore opens the store of instances that are this node's own.
func openStore(cfg *config.Config) (instances.Store, error) {
	if cfg.Data == "" || cfg.Cluster.SharesInstances() {
		return new(instances.Memory), nil
	}
	return boltstore.Open(cfg.Data)
}

// instanceStore returns the store of all instances: that of the cluster, if the nodes
// share them.
func (d *daemon) instanceStore() instances.Store {
	if shared := d.cluster.sharedStore(); shared != nil {
		return shared
	}
	return d.store
}

// warnOfOwnInstances logs which instances this node has kept for itself, before it began
// to share those of its cluster. They are not served, and stay where they are.
func (d *daemon) warnOfOwnInstances(ctx context.Context) {
	file := filepath.Join(d.cfg.Data, boltstore.File)
	if _, err := os.Stat(file); err != nil || d.cfg.Data == "" {
		return
	}
	ids, err := ownInstances(ctx, d.cfg.Data)
	if err != nil {
		d.log.Warn().Err(err).Str("file", file).Msg("could not read whether this node has instances of its own, which a cluster with shared instances does not serve")
		return
	}
	if len(ids) > 0 {
		d.log.Warn().Str("file", file).Int("count", len(ids)).Strs("instances", ids[:min(len(ids), 20)]).
			Msg("instances that this node has kept for itself are not served, because it shares the instances of its cluster; they stay in the file: " +
				"cluster.instances=local serves them again, and docs/cluster.md says how to move them")
	}
}

// ownInstances lists the ids of the instances in the store of a directory.
func ownInstances(ctx context.Context, dir string) (ids []string, err error) {
	store, err := boltstore.Open(dir)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	entries, err := store.List(ctx, specPrefix)
	for _, e := range entries {
		ids = append(ids, strings.TrimPrefix(e.Key, specPrefix))
	}
	return ids, err
}

// newManager returns the manager of all instances, with the built-in types.
func (d *daemon) newManager() *instances.Manager {
	d.sockets.Store(ptr(socketOptions(d.cfg)))
	d.privateJWKS.Store(d.cfg.API.PrivateJWKS)
	d.privateHooks.Store(d.cfg.API.PrivateHooks)
	d.verifiers.log, d.deciders.log = &d.log, &d.log
	d.deciders.revoked = d.revocations.CoversUser
	m := instances.New(d.endpoint, instances.Options{
		Store: d.instanceStore(), Node: d.cluster.sharingNode(), Path: d.cfg.Path, Default: defaultInstance, Limits: instanceLimits(d.cfg.Limits.Limits),
		History: d.history,
		Sockets: d.instanceSockets, Wrap: d.wrapSockets, Bus: d.cluster.bus(), Replicator: d.cluster.replicator(), Logger: &d.log, DrainTimeout: d.cfg.Drain.Timeout,
		Began:   d.events.Begin,
		Address: d.cluster.forwardAddress(), Elsewhere: d.cluster.elsewhere(),
	})
	register(m, realtime.Options{Verifier: d.realtimeTokens.current, Access: d.deciders.access})
	return m
}

// register registers the built-in types.
func register(m *instances.Manager, o realtime.Options) {
	for _, t := range []instances.Type{relay.Type(), chat.Type(), game.Type(), collab.Type(), realtime.Type(o)} {
		m.Register(t)
	}
}

// openInstances starts the default instance and those in the store.
func (d *daemon) openInstances(ctx context.Context, first *loaded) error {
	if d.cfg.Cluster.SharesInstances() {
		d.warnOfOwnInstances(ctx)
	} else if d.cfg.Data == "" {
		d.log.Info().Msg("instances are kept in memory until the server stops: --data DIRECTORY keeps them")
	}
	if _, err := d.declare(ctx, first.specs()); err != nil {
		return err
	}
	if err := d.instances.Open(ctx); err != nil {
		return err
	}
	d.loadHistory()
	if err := d.durable.load(ctx); err != nil {
		return err
	}
	d.events.Resume(d.infoOf)
	return d.openAPI(d.cfg, first.keys)
}

// historyFile is the name of the file with what was recorded before the server was
// stopped, in the directory of the data.
const historyFile = "history"

// newHistory returns a store without messages. secret is that of the cluster, nil if there
// is none.
func newHistory(cfg *config.Config, secret []byte) *history.Store {
	o := history.Options{Memory: int64(cfg.History.Memory)}
	if secret != nil {
		o.Secret = nodekey.Derive(secret, "sessions", 32)
	}
	return history.NewStore(o)
}

// loadHistory loads what was recorded before the server was stopped. It is called when
// instances have their rules. A file that cannot be read is no reason not to start:
// clients are told that they missed something.
func (d *daemon) loadHistory() {
	if d.cfg.Data == "" {
		return
	}
	if err := d.history.Load(filepath.Join(d.cfg.Data, historyFile)); err != nil {
		d.log.Error().Err(err).Msg("could not read the saved history; messages from before the start are lost")
	}
}

// saveHistory keeps what was recorded for the next start. Recording must have ended.
func (d *daemon) saveHistory() error {
	defer d.history.Close()
	if s := d.history.Stats(); d.cfg.Data == "" || s.Recorded == 0 && s.Topics == 0 {
		return nil
	}
	return d.history.Save(filepath.Join(d.cfg.Data, historyFile))
}

// defaultSpec returns the spec of the default instance for a configuration.
func defaultSpec(cfg *config.Config) instances.Spec {
	p, kind := cfg.Presence, "relay"
	var c any = relay.Config{Topics: cfg.Topics, Window: units.Duration(p.Window), PresenceOff: p.Off, DiffsOff: p.DiffsOff}
	if cfg.Dialect == config.DialectRealtime {
		kind, c = "realtime", realtimeConfig(cfg)
	}
	text, err := json.Marshal(c)
	if err != nil {
		panic(err) // strings, numbers and durations can always be encoded
	}
	return instances.Spec{ID: defaultInstance, Type: kind, Config: text, History: historyRules(cfg), Hooks: defaultHooks(cfg)}
}

// historyRules returns the rules of the default instance; the checker reports those
// that cannot be decoded.
func historyRules(cfg *config.Config) (rules []instances.HistoryRule) {
	for _, text := range cfg.HistoryRules {
		var r instances.HistoryRule
		if text != nil && strictjson.Decode(text, &r) == nil {
			rules = append(rules, r)
		}
	}
	return rules
}

// instanceSockets implements instances.Options.Sockets. The manager may call it
// from any goroutine.
func (d *daemon) instanceSockets(spec instances.Spec) (channels.SocketOptions, func(), error) {
	o := *d.sockets.Load()
	// The configuration applies to all instances without an auth of their own.
	tokens, whose := d.auth.Load(), defaultInstance
	if len(spec.Auth) > 0 {
		var err error
		if tokens, err = specAuth(spec.Auth, d.privateJWKS.Load()); err != nil {
			return o, nil, err
		}
		whose = spec.ID
	}
	var v *auth.Verifier
	release := func() {}
	if tokens != nil {
		var err error
		if v, release, err = d.verifiers.get(whose, *tokens); err != nil {
			return o, nil, err
		}
	}
	if v != nil {
		v = v.With(d.revocations, spec.ID)
	}
	switch {
	case spec.Type == "realtime": // it takes tokens where Supabase's clients put them
		forget := d.realtimeTokens.add(spec.ID, v)
		return o, func() { forget(); release() }, nil
	case v == nil:
		return o, release, nil
	}
	return v.Protect(o), release, nil
}

func socketOptions(cfg *config.Config) channels.SocketOptions {
	return channels.SocketOptions{
		CheckOrigin: originCheck(cfg.CheckOrigin), OriginHelp: originHelp(cfg.CheckOrigin), IdleTimeout: cfg.IdleTimeout,
		Compress: cfg.Compress,
		LongPoll: channels.LongPollOptions{Enabled: cfg.LongPoll, Window: cfg.LongPollWindow, Grace: cfg.LongPollGrace},
	}
}

// instanceLimits returns the server's limits without those of all connections
// together, which the endpoint applies to all instances.
func instanceLimits(l channels.Limits) channels.Limits {
	l.MaxConnections, l.MaxConnectionsPerAddress, l.HandshakesPerSecond = 0, 0, 0
	return l
}

func ptr[T any](v T) *T { return &v }
