package relay

import (
	"context"
	"time"

	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/internal/topics"
	"github.com/mycelium-rt/mycelium/presence"
	"github.com/mycelium-rt/mycelium/units"
)

// Config is the configuration of an instance of [Type].
type Config struct {
	Topics      []string       `json:"topics,omitempty" jsonschema:"minItems=1,description=patterns of the topics that are served: exact or with a * at the end; all if there are none"`
	Window      units.Duration `json:"presence_window,omitempty" jsonschema:"description=how long presence diffs are gathered into one; at once if it is left out. It changes with a restart only"`
	PresenceOff []string       `json:"presence_off,omitempty" jsonschema:"description=patterns of topics where nobody is tracked"`
	DiffsOff    []string       `json:"presence_diffs_off,omitempty" jsonschema:"description=patterns of topics that get no presence diffs"`
	Publish     []Rule         `json:"publish,omitempty" jsonschema:"description=who may publish what: the first rule that fits decides; everybody may where none does"`
}

// maxWindow is that of the server's own option presence.window.
const maxWindow = time.Minute

// options checks what the schema cannot say.
func (c Config) options() (Options, error) {
	for field, patterns := range map[string][]string{"/topics": c.Topics, "/presence_off": c.PresenceOff, "/presence_diffs_off": c.DiffsOff} {
		if err := checkPatterns(field, patterns); err != nil {
			return Options{}, err
		}
	}
	if w := time.Duration(c.Window); w < 0 || w > maxWindow {
		return Options{}, instances.Invalid("/presence_window", "is %s: it must be from 0s to %s", w, maxWindow)
	}
	if err := checkRules(c.Publish); err != nil {
		return Options{}, err
	}
	o := Options{Topics: c.Topics, Window: time.Duration(c.Window), PresenceOff: c.PresenceOff, DiffsOff: c.DiffsOff, Publish: c.Publish}
	if len(o.Topics) == 0 {
		o.Topics = []string{"*"}
	}
	return o, nil
}

func checkPatterns(field string, patterns []string) error {
	for _, p := range patterns {
		if _, err := topics.Parse(p); err != nil {
			return instances.Invalid(field, "has %q, which %v: write a whole name, or the beginning of one and a *", p, err)
		}
	}
	return nil
}

// Type returns the type of instances that relay.
func Type() instances.Type {
	return instances.Define("relay", "What a client pushes on a topic goes to everybody on it, and everybody sees who is there.",
		func(in *instances.Instance, c Config) (instances.Logic, error) {
			o, err := c.options()
			if err != nil {
				return nil, err
			}
			r := new(Relay)
			r.options.Store(&o)
			r.presence = in.TrackPresence(r.tracking(o))
			return &logic{r}, nil
		}).Spread()
}

// logic is a relay as an instance.
type logic struct{ *Relay }

// Configure implements instances.Configurer.
func (l *logic) Configure(_ context.Context, c Config) error {
	o, err := c.options()
	if err != nil {
		return err
	}
	if o.Window != l.options.Load().Window {
		return instances.ErrRestart
	}
	l.setOptions(o)
	return nil
}

// ConnectsAtOnce implements instances.QuickConnector.
func (l *logic) ConnectsAtOnce() {}

var (
	_ instances.Configurer[Config] = (*logic)(nil)
	_ instances.QuickConnector     = (*logic)(nil)
)

// tracking are the options of the presence of a relay.
func (r *Relay) tracking(o Options) presence.Options {
	return presence.Options{
		Window: o.Window,
		Diffs:  func(topic string) bool { return !topics.MatchAny(r.options.Load().DiffsOff, topic) },
	}
}
