package instances

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/mycelium-rt/mycelium/channels"
)

// Reconfigure replaces Options.Limits for all instances, calls Options.Sockets
// again, and gives the named declared instances another spec. For each instance
// this is one step, which applies to clients that connect afterwards. An
// instance for which it fails keeps its configuration; all errors are returned.
func (m *Manager) Reconfigure(ctx context.Context, l channels.Limits, declared ...Spec) error {
	m.mu.Lock()
	m.options.Limits = l
	members := slices.Collect(maps.Values(m.members))
	m.mu.Unlock()
	wanted := make(map[string]Spec)
	for _, spec := range declared {
		wanted[spec.ID] = spec.clone()
	}
	var errs []error
	for _, one := range members {
		spec, ok := wanted[one.id]
		if err := m.reconfigure(ctx, one, spec, ok && one.declared); err != nil {
			errs = append(errs, fmt.Errorf("instances: %q: %w", one.id, err))
		}
	}
	return errors.Join(errs...)
}

// reconfigure is Reconfigure for one instance; wanted is its new spec, if there
// is one.
func (m *Manager) reconfigure(ctx context.Context, one *member, wanted Spec, redeclared bool) error {
	if err := one.lock(ctx); err != nil {
		return err
	}
	defer one.unlock()
	if redeclared {
		if restarted, err := m.redeclare(ctx, one, wanted); restarted || err != nil {
			return err
		}
	}
	one.mu.RLock()
	life, spec := one.life, one.spec
	one.mu.RUnlock()
	m.warnOfLimits(&spec)
	if life == nil {
		return nil
	}
	return m.remountAll(life, spec)
}

// redeclare gives a declared instance another spec. It returns true if that has
// restarted the instance, with the new limits and options; otherwise they have
// yet to be applied.
func (m *Manager) redeclare(ctx context.Context, one *member, wanted Spec) (restarted bool, err error) {
	kind, err := m.prepare(&wanted, Limits{}, m.bounds())
	if err != nil {
		return false, err
	}
	one.mu.RLock()
	life, spec, state := one.life, one.spec, one.state
	one.mu.RUnlock()
	fields := spec.differs(&wanted)
	how := howToChange(state, fields)
	if how < byRestart && slices.Contains(fields, "hooks") {
		if err := m.tryBuild(one, kind, wanted); err != nil { // it also checks hooks
			return false, err
		}
	}
	switch {
	case len(fields) == 0:
		return false, nil
	case how == byConfigure:
		taken, err := life.configure(ctx, kind, wanted.Config)
		if !taken {
			return true, m.applyUpdate(ctx, one, kind, wanted, []string{"type"}) // like any change that restarts
		}
		if err != nil {
			return false, err
		}
	case how != silently:
		return true, m.applyUpdate(ctx, one, kind, wanted, fields)
	}
	one.mu.Lock()
	one.spec = wanted
	one.revision++
	revision := one.revision
	one.mu.Unlock()
	m.applyHistory(one, kind, &wanted)
	if life != nil {
		one.setApplied(life, wanted, revision)
	}
	return false, nil
}

// remountAll applies the present limits, options and channels to clients that
// connect from now on.
func (m *Manager) remountAll(life *Instance, spec Spec) error {
	chs, err := life.rechannel()
	if err != nil {
		return err
	}
	so, err := m.newSockets(life, spec)
	if err != nil {
		return err
	}
	return life.remount(m.limitsOf(spec), so, chs)
}

// rechannel calls the logic's Channels after a change.
func (in *Instance) rechannel() (chs []*channels.Channel, err error) {
	err = in.guard("Channels", func() error { chs = in.logic.Channels(); return nil })
	in.crashOn(err)
	return chs, err
}

// remount applies limits, options and channels to clients that connect from now
// on.
func (in *Instance) remount(l channels.Limits, so channels.SocketOptions, chs []*channels.Channel) error {
	in.sockets, in.channels = so, chs
	return in.endpoint.Reconfigure("/", l, so, chs...)
}
