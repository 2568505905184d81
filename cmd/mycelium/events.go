package main

import (
	"context"
	"errors"
	"path/filepath"
	"time"

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
	o := events.Options{Log: logging.NewLog(&d.log)}
	if d.cfg.Data != "" {
		o.Dir = filepath.Join(d.cfg.Data, eventsDirectory)
	}
	if d.cluster != nil {
		o.Node = d.cluster.name
	}
	return events.New(o)
}

func (d *daemon) closeEvents(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lastEvents)
	defer cancel()
	return d.events.Close(ctx)
}

var errStoreClosed = errors.New("the store of instances is not open")

// specOf is events.SpecOf. While a node cannot read the store that all nodes share, it
// does not know which instances exist.
func (d *daemon) specOf(id string) (instances.Spec, error) {
	i, err := d.instances.Get(id)
	if errors.Is(err, instances.ErrNotFound) && d.cluster != nil {
		if shared := d.cluster.store; shared == nil || shared.look().Trouble != "" {
			return i.Spec, errStoreClosed
		}
	}
	return i.Spec, err
}
