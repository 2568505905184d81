package main

import (
	"context"
	"errors"

	"github.com/mycelium-rt/mycelium/internal/config"
)

// reload reads the configuration again and takes over what can change while
// the server runs. What can fail is done first: with an error nothing has
// changed, and the log says why.
func (d *daemon) reload() {
	cfg, change, err := d.reloaded()
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
	for _, w := range cfg.Warnings {
		d.log.Warn().Msg(w)
	}
	if len(change.Restart) > 0 {
		d.log.Warn().Strs("options", change.Restart).Msg("these options have changed and need a restart")
	}
	d.log.Info().Strs("options", change.Live).Msg("configuration reloaded")
}

func (d *daemon) reloaded() (*config.Config, config.Change, error) {
	next, err := config.Load(d.args, d.environ)
	if err != nil {
		return nil, config.Change{}, err
	}
	cfg, change, err := d.cfg.Reloaded(next)
	if err != nil {
		return nil, change, err
	}
	pair, err := loadCertificate(cfg.TLS) // its files may have changed under the same names
	if err != nil {
		return nil, change, err
	}
	tokens, err := authOptions(cfg.Auth)
	if err != nil {
		return nil, change, err
	}
	if err := d.level.Set(cfg.Log.Level); err != nil {
		return nil, change, err
	}
	d.certificate.pair.Store(pair)
	d.metrics.SetAccess(access(cfg.Metrics))
	d.cfg = cfg
	return cfg, change, d.reconfigure(context.Background(), cfg, tokens)
}
