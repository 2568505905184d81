package main

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strconv"
	"time"

	"github.com/mycelium-rt/mycelium/hooks"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/internal/events"
	"github.com/mycelium-rt/mycelium/internal/logging"
)

// eventsDirectory is the name of the directory with the events that wait to be told, in
// that of the data.
const eventsDirectory = "events"

// lastEvents is how long back ends are told events when the server stops. What is left is
// told after the next start.
const lastEvents = 3 * time.Second

func (d *daemon) newEvents() *events.Events {
	o := events.Options{Log: logging.NewLog(&d.log), Hooks: d.tellingHooks}
	if d.cfg.Data != "" {
		o.Dir = filepath.Join(d.cfg.Data, eventsDirectory)
	}
	if d.cluster != nil {
		o.Node = d.cluster.name
	}
	return events.New(o)
}

// tellingHooks is events.Options.Hooks.
func (d *daemon) tellingHooks(spec instances.Spec, declared bool) (list []events.Hook, err error) {
	if len(spec.Hooks) == 0 {
		return nil, nil
	}
	configured, err := specHooks(spec, declared, d.privateHooks.Load())
	if err != nil {
		return nil, err
	}
	tellers, err := hooks.NewTellers(configured, &d.log)
	if err != nil {
		return nil, belowHooks(err)
	}
	for _, t := range tellers {
		selects, err := events.Select(t.Hook.Tells(), t.Hook.Topics, t.Hook.Events)
		if err != nil {
			return nil, err
		}
		fingerprint, err := json.Marshal(t.Hook)
		if err != nil {
			return nil, err
		}
		list = append(list, events.Hook{
			Name: t.Hook.Name, Selects: selects, Send: t.Send, Close: t.Close,
			Fingerprint: string(fingerprint) + strconv.FormatBool(t.Hook.PublicOnly),
		})
	}
	return list, nil
}

func (d *daemon) closeEvents(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lastEvents)
	defer cancel()
	return d.events.Close(ctx)
}

var errStoreClosed = errors.New("the store of instances is not open")

// infoOf is events.InfoOf. While a node cannot read the store that all nodes share, it
// does not know which instances exist.
func (d *daemon) infoOf(id string) (instances.Info, error) {
	i, err := d.instances.Get(id)
	if errors.Is(err, instances.ErrNotFound) && d.cluster != nil {
		if shared := d.cluster.store; shared == nil || shared.look().Trouble != "" {
			return i, errStoreClosed
		}
	}
	return i, err
}
