package main

import (
	"context"
	"errors"

	"github.com/mycelium-rt/mycelium/internal/config"
)

// readAgain reads the configuration again.
func (d *daemon) readAgain() (then func()) {
	next, change, err := d.load()
	return func() { d.reload(next, change, err) }
}

// reload applies what can change while the server runs of a configuration that load has read
// and checked: if it has errors, nothing changes and the log says why. If an instance still
// refuses its new configuration, as its type may, only that instance is unchanged.
func (d *daemon) reload(next *loaded, change config.Change, err error) {
	if err == nil {
		err = d.level.Set(next.cfg.Log.Level) // the last step that can fail, and the first change
	}
	if err != nil {
		event := d.log.Error()
		var wrong *config.Error
		if errors.As(err, &wrong) {
			event.Strs("problems", wrong.Problems)
		} else {
			event.Err(err)
		}
		event.Msg("configuration not reloaded: it has errors, and nothing has changed")
		return
	}
	for _, w := range next.cfg.Warnings {
		d.log.Warn().Msg(w)
	}
	if len(change.Restart) > 0 {
		d.log.Warn().Strs("options", change.Restart).Msg("these changed options need a restart")
	}
	if err := d.takeOver(context.Background(), next); err != nil {
		d.log.Error().Err(err).Strs("options", change.Live).
			Msg("configuration reloaded, except for what the error names")
		return
	}
	d.log.Info().Strs("options", change.Live).Msg("configuration reloaded")
}

// load reads and checks the configuration again.
func (d *daemon) load() (*loaded, config.Change, error) {
	next, err := config.Load(d.args, d.environ)
	if err != nil {
		return nil, config.Change{}, err
	}
	cfg, change, err := d.cfg.Reloaded(next)
	if err != nil {
		return nil, change, err
	}
	c := &checker{cfg: cfg}
	l := c.prepare() // also reads the files of TLS, which may have changed under the same names
	c.checkDeclared(d.instances, l)
	return l, change, c.err()
}

// takeOver applies a configuration that load has checked. An error names the
// instances that refuse theirs.
func (d *daemon) takeOver(ctx context.Context, l *loaded) error {
	d.cfg = l.cfg
	d.tls.set(&l.tls)
	d.renewal.watch(&l.cfg.TLS, l.tls.stamps)
	d.metrics.SetAccess(d.access(l.cfg.Metrics))
	d.sockets.Store(ptr(socketOptions(l.cfg)))
	d.auth.Store(l.tokens)
	d.privateJWKS.Store(l.cfg.API.PrivateJWKS)
	d.privateHooks.Store(l.cfg.API.PrivateHooks)
	d.endpoint.SetLimits(l.cfg.Limits.Limits)
	err := d.openAPI(l.cfg, l.keys)
	d.showOwnKey()
	present, declareErr := d.declare(ctx, l.specs())
	return errors.Join(err, declareErr, d.instances.Reconfigure(ctx, instanceLimits(l.cfg.Limits.Limits), present...))
}
