package main

import (
	"context"
	"errors"

	"github.com/mycelium-rt/mycelium/internal/config"
)

// reload reads the configuration again and takes over what can change while
// the server runs. What can be found wrong with it is found first: then nothing
// has changed, and the log says why. What an instance refuses all the same (its
// type may, once it is asked to change) is that instance's alone.
func (d *daemon) reload() {
	next, change, err := d.load()
	if err == nil {
		err = d.level.Set(next.cfg.Log.Level) // the last that can fail, and the first that changes
	}
	if err != nil {
		event := d.log.Error()
		var wrong *config.Error
		if errors.As(err, &wrong) {
			event.Strs("problems", wrong.Problems)
		} else {
			event.Err(err)
		}
		event.Msg("configuration not reloaded: it is wrong, and nothing has changed")
		return
	}
	for _, w := range next.cfg.Warnings {
		d.log.Warn().Msg(w)
	}
	if len(change.Restart) > 0 {
		d.log.Warn().Strs("options", change.Restart).Msg("these options have changed and need a restart")
	}
	if err := d.takeOver(context.Background(), next); err != nil {
		d.log.Error().Err(err).Strs("options", change.Live).
			Msg("configuration reloaded, but not for the instances that are named here")
		return
	}
	d.log.Info().Strs("options", change.Live).Msg("configuration reloaded")
}

// load reads the configuration again; an error says what is wrong with it.
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
	l := c.prepare() // reads the certificate again: it may have changed under the same name
	c.checkDeclared(d.instances, l)
	return l, change, c.err()
}

// takeOver makes the server go on with a configuration that load has found
// right. An error names the instances that refuse theirs.
func (d *daemon) takeOver(ctx context.Context, l *loaded) error {
	d.cfg = l.cfg
	d.certificate.pair.Store(l.certificate)
	d.metrics.SetAccess(d.access(l.cfg.Metrics))
	d.sockets.Store(ptr(socketOptions(l.cfg)))
	d.auth.Store(l.tokens)
	d.privateJWKS.Store(l.cfg.API.PrivateJWKS)
	d.endpoint.SetLimits(l.cfg.Limits.Limits)
	err := d.openAPI(l.cfg, l.keys)
	d.showOwnKey()
	present, declareErr := d.declare(ctx, l.specs())
	return errors.Join(err, declareErr, d.instances.Reconfigure(ctx, instanceLimits(l.cfg.Limits.Limits), present...))
}
