package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/mycelium-rt/mycelium/cluster/natscluster"
	"github.com/mycelium-rt/mycelium/hooks"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/internal/events"
	"github.com/mycelium-rt/mycelium/internal/logging"
	"github.com/mycelium-rt/mycelium/internal/webhook"
)

// eventsDirectory is the name of the directory with the events that wait to be told, in
// that of the data.
const eventsDirectory = "events"

// lastEvents is how long back ends are told events when the server stops. What is left is
// told after the next start.
const lastEvents = 3 * time.Second

func (d *daemon) newEvents() *events.Events {
	bounds := d.cfg.Events
	o := events.Options{
		Limit: int64(bounds.Outbox), Kept: cmp.Or(int64(bounds.Kept), -1), MaxAge: bounds.MaxAge,
		Log: logging.NewLog(&d.log), Hooks: d.tellingHooks,
	}
	if d.cfg.Data != "" {
		o.Dir = filepath.Join(d.cfg.Data, eventsDirectory)
	}
	if d.cluster != nil {
		o.Node = d.cluster.name
		if d.cluster.events != nil {
			o.Every = d.publishedEvents(d.cfg.Cluster.NATSEvents)
		}
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

// natsHook is the name of the hook that publishes events to NATS. No other hook can have it.
const natsHook = "cluster.nats_events"

// publishedEvents returns events.Options.Every, which publishes the events of these names of each
// instance to NATS. Any goroutine may call it.
func (d *daemon) publishedEvents(names []string) func(id string) events.Hook {
	selects, err := events.Select(names, nil, nil)
	if err != nil {
		panic(err) // the configuration has been checked
	}
	publisher, fingerprint := d.cluster.events, strings.Join(names, ",")
	return func(id string) events.Hook {
		return events.Hook{Name: natsHook, Selects: selects, Fingerprint: fingerprint, Send: func(ctx context.Context, _ string, body []byte) error {
			return publishBatch(ctx, publisher, id, body)
		}}
	}
}

// publishBatch publishes a request with events of an instance.
func publishBatch(ctx context.Context, to *natscluster.Publisher, id string, body []byte) error {
	var batch struct{ Events []json.RawMessage }
	if err := json.Unmarshal(body, &batch); err != nil {
		return err
	}
	list := make([]natscluster.Event, len(batch.Events))
	for i, text := range batch.Events {
		var e struct{ ID, Type string }
		if err := json.Unmarshal(text, &e); err != nil {
			return err
		}
		list[i] = natscluster.Event{Subject: id + "." + e.Type, ID: e.ID, Data: text}
	}
	err := to.Publish(ctx, list)
	if errors.Is(err, natscluster.ErrTooLarge) {
		return fmt.Errorf("%w: %w", err, &webhook.StatusError{Status: http.StatusRequestEntityTooLarge})
	}
	return err
}

func (d *daemon) closeEvents(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lastEvents)
	defer cancel()
	return d.events.Close(ctx)
}

var errNotKnown = errors.New("the store of instances does not say whether the instance exists")

// infoOf is events.InfoOf. A node that shares its instances learns of them some time after the
// store has been opened, so the store decides whether one that the node does not know exists.
func (d *daemon) infoOf(id string) (instances.Info, error) {
	i, err := d.instances.Get(id)
	shared := d.cluster.sharedStore()
	if !errors.Is(err, instances.ErrNotFound) || shared == nil {
		return i, err
	}
	if d.cluster.store.look().Trouble != "" { // it would not answer
		return i, errNotKnown
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeWait)
	defer cancel()
	if _, storeErr := shared.Get(ctx, specPrefix+id); errors.Is(storeErr, instances.ErrKeyNotFound) {
		return i, err
	}
	return i, errNotKnown
}
