package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/auth"
	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/fielderr"
	"github.com/mycelium-rt/mycelium/hooks"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/instances/realtime"
	"github.com/mycelium-rt/mycelium/instances/relay"
	"github.com/mycelium-rt/mycelium/internal/config"
	"github.com/mycelium-rt/mycelium/internal/metrics"
	"github.com/mycelium-rt/mycelium/internal/netguard"
	"github.com/mycelium-rt/mycelium/internal/strictjson"
)

// defaultHooks returns the field hooks of the default instance's spec.
func defaultHooks(cfg *config.Config) json.RawMessage {
	list := slices.DeleteFunc(slices.Clone(cfg.Hooks), func(text json.RawMessage) bool { return text == nil }) // not an object: an error of Load
	if len(list) == 0 {
		return nil
	}
	text, err := json.Marshal(list)
	if err != nil {
		panic(err) // it has been encoded before
	}
	return text
}

// specHooks decodes the field hooks of a spec. Hooks that the configuration does not declare may come from others than
// the server's operator; private permits them what only the operator may do.
func specHooks(spec instances.Spec, declared, private bool) ([]hooks.Hook, error) {
	if len(spec.Hooks) == 0 {
		return nil, nil
	}
	list, err := decodeHooks(spec.Hooks)
	if err != nil {
		return nil, err
	}
	var wrong, below fielderr.List
	for i := range list {
		list[i].PublicOnly = !declared && !private
		wrong = append(wrong, fitsType(spec.Type, i, &list[i])...)
		if list[i].SecretFile != "" && !declared {
			wrong.Add(hookField(i, "/secret_file"), "is allowed in the server's own configuration only: use secret")
		}
	}
	if errors.As(hooks.Check(list), &below) {
		wrong.AddBelow("/hooks", below)
	}
	return list, wrong.Err()
}

// decodeHooks decodes the field hooks of a spec.
func decodeHooks(text json.RawMessage) ([]hooks.Hook, error) {
	var elements []json.RawMessage
	if json.Unmarshal(text, &elements) != nil {
		return nil, fielderr.New("/hooks", "is not a list of objects")
	}
	list := make([]hooks.Hook, len(elements))
	var wrong, below fielderr.List
	for i, element := range elements {
		switch err := strictjson.Decode(element, &list[i]); {
		case errors.As(err, &below):
			wrong.AddBelow(hookField(i, ""), below)
		case err != nil:
			wrong.Add(hookField(i, ""), "%v", err)
		}
	}
	return list, wrong.Err()
}

// fitsType returns what hooks of a type of instances cannot decide.
func fitsType(kind string, i int, h *hooks.Hook) (wrong fielderr.List) {
	for j, on := range h.On {
		at := hookField(i, "/on/"+strconv.Itoa(j))
		switch isRealtime := kind == "realtime"; {
		case isRealtime && (on == hooks.Join || on == hooks.Event):
			wrong.Add(at, "is %q, which does not apply to instances of type realtime: use \"access\", which decides about their private channels", on)
		case !isRealtime && on == hooks.Access:
			wrong.Add(at, "is %q, which applies to instances of type realtime only: use \"join\" and \"event\"", on)
		}
	}
	return wrong
}

// tryHooks reads the secrets of hooks, and reports what is wrong with them.
func tryHooks(list []hooks.Hook) error {
	quiet := zerolog.Nop()
	d, err := hooks.New(hooks.Options{Hooks: list, Logger: &quiet})
	if err != nil {
		return belowHooks(err)
	}
	d.Close()
	return nil
}

// hookField returns the pointer of a field of a hook in a spec.
func hookField(i int, field string) string { return "/hooks/" + strconv.Itoa(i) + field }

// hookPlace returns the index of the hook, and the field in it, of such a pointer.
func hookPlace(pointer string) (i int, field string) {
	index, rest, _ := strings.Cut(strings.TrimPrefix(pointer, "/hooks/"), "/")
	i, err := strconv.Atoi(index)
	if err != nil {
		return 0, ""
	}
	return i, "/" + rest
}

func belowHooks(err error) error {
	var wrong, below fielderr.List
	if !errors.As(err, &below) {
		return err
	}
	wrong.AddBelow("/hooks", below)
	return wrong
}

// hooks checks the hooks of the default instance.
func (c *checker) hooks() {
	list, err := specHooks(defaultSpec(c.cfg), true, true)
	if err == nil {
		err = tryHooks(list)
	}
	var wrong fielderr.List
	switch {
	case errors.As(err, &wrong):
		for _, f := range wrong {
			i, rest := hookPlace(f.Field)
			c.add("%s %s", c.cfg.Place("hooks", i, rest), f.Reason)
		}
	case err != nil:
		c.add("hooks: %v", err)
	}
	for i, h := range list {
		if u, err := url.Parse(h.URL); err == nil && u.Scheme == "http" && !netguard.IsLoopback(u.Hostname()) {
			c.warn("%s: what clients send, and what they may do, crosses the network unencrypted; https encrypts it", c.cfg.Place("hooks", i, "/url"))
		}
	}
}

// wrapSockets implements instances.Options.Wrap.
func (d *daemon) wrapSockets(in *instances.Instance, spec instances.Spec, so channels.SocketOptions) (channels.SocketOptions, func(), error) {
	list, err := specHooks(spec, in.Declared(), d.privateHooks.Load())
	if err != nil || len(list) == 0 {
		return so, nil, err
	}
	decider, release, err := d.deciders.get(spec.ID, list, d.hiddenParams(spec))
	if err != nil {
		return so, nil, belowHooks(err)
	}
	return decider.Protect(so, presenceOf(in, spec.Type)), release, nil
}

// hiddenParams returns the connect params that hooks are not shown: tokens that this server verifies, which may be valid
// elsewhere too.
func (d *daemon) hiddenParams(spec instances.Spec) []string {
	if spec.Type == "realtime" {
		return []string{"apikey"}
	}
	o := d.auth.Load()
	if len(spec.Auth) > 0 {
		o, _ = specAuth(spec.Auth, true) // wrong ones are refused elsewhere
	}
	if o == nil {
		return nil
	}
	return []string{cmp.Or(o.Param, "token")}
}

// presenceOf returns what tracks the clients that hooks name, nil for types that track their clients by themselves.
func presenceOf(in *instances.Instance, kind string) hooks.Presence {
	if kind != "relay" {
		return nil
	}
	return relayPresence{in}
}

// relayPresence tracks clients in an instance of the type relay.
type relayPresence struct{ in *instances.Instance }

// Track implements hooks.Presence.
func (r relayPresence) Track(c *channels.Context, key string, meta json.RawMessage) error {
	if err := hooks.TrackWith(r.in.Presence()).Track(c, key, meta); err != nil {
		return err
	}
	if c.Event() == "phx_join" {
		relay.Tracked.Set(c, true)
	}
	return nil
}

// deciders holds the deciders of all instances. The manager asks for them again on a reload: if nothing has changed, the
// decider is shared, so that it remembers which back ends are away.
type deciders struct {
	// Static.
	log     *zerolog.Logger
	revoked func(instance, user string, asked time.Time) bool

	mu sync.Mutex

	// Guarded by mu.
	by   map[string][]*sharedDecider      // by instance
	gone map[string]*metrics.DecidingHook // what closed deciders have counted, by label: counters must not decrease
}

// sharedDecider is a decider that is closed when its last user releases it.
type sharedDecider struct {
	*hooks.Decider
	key  string // the hooks that it is for, as JSON
	held int
}

// get returns a decider that is valid until release is called.
func (all *deciders) get(id string, list []hooks.Hook, hidden []string) (_ *hooks.Decider, release func(), err error) {
	text, err := json.Marshal(struct {
		Hooks  []hooks.Hook
		Public bool
		Hidden []string
	}{list, list[0].PublicOnly, hidden})
	if err != nil {
		return nil, nil, err
	}
	all.mu.Lock()
	defer all.mu.Unlock()
	key := string(text)
	i := slices.IndexFunc(all.by[id], func(s *sharedDecider) bool { return s.key == key })
	var shared *sharedDecider
	if i >= 0 {
		shared = all.by[id][i]
		all.by[id] = append(slices.Delete(all.by[id], i, i+1), shared) // the last counts
	} else {
		log := all.log.With().Str("instance", id).Logger()
		decider, err := hooks.New(hooks.Options{Hooks: list, Instance: id, Claims: claimsOf, Hide: hidden, Logger: &log,
			Revoked: func(user string, asked time.Time) bool { return all.revoked(id, user, asked) }})
		if err != nil {
			return nil, nil, err
		}
		shared = &sharedDecider{Decider: decider, key: key}
		if all.by == nil {
			all.by = make(map[string][]*sharedDecider)
		}
		all.by[id] = append(all.by[id], shared)
	}
	shared.held++
	return shared.Decider, sync.OnceFunc(func() { all.release(id, shared) }), nil
}

func (all *deciders) release(id string, shared *sharedDecider) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if shared.held--; shared.held > 0 {
		return
	}
	shared.Close()
	if all.gone == nil {
		all.gone = make(map[string]*metrics.DecidingHook)
	}
	for _, h := range shared.Stats() {
		addDeciding(all.gone, hookLabel(id, h.Hook), &h)
	}
	rest := slices.DeleteFunc(all.by[id], func(other *sharedDecider) bool { return other == shared })
	if all.by[id] = rest; len(rest) == 0 {
		delete(all.by, id)
	}
}

// current returns the decider of an instance, nil if it has none.
func (all *deciders) current(id string) *hooks.Decider {
	all.mu.Lock()
	defer all.mu.Unlock()
	list := all.by[id]
	if len(list) == 0 {
		return nil
	}
	return list[len(list)-1].Decider
}

// each calls f with the present decider of each instance that has one.
func (all *deciders) each(f func(instance string, d *hooks.Decider)) {
	all.mu.Lock()
	current := make(map[string]*hooks.Decider, len(all.by))
	for instance, list := range all.by {
		current[instance] = list[len(list)-1].Decider
	}
	all.mu.Unlock()
	for instance, d := range current {
		f(instance, d)
	}
}

// access implements realtime.Access: where no hook decides, tokens do.
func (all *deciders) access(ctx context.Context, r realtime.AccessRequest) (realtime.Rights, error) {
	d := all.current(r.Instance)
	if d == nil {
		return realtime.TokenAccess(ctx, r)
	}
	var claims any
	if r.Token != nil {
		claims = r.Token.Claims
	}
	read, write, asked, err := d.AskAccess(ctx, r.Topic, claims)
	if !asked {
		return realtime.TokenAccess(ctx, r)
	}
	return realtime.Rights{Read: read, Write: write}, err
}

// claimsOf returns the claims of the token of a socket, nil if it has none.
func claimsOf(s *channels.Socket) any {
	if claims := auth.Current(s); claims != nil {
		return claims
	}
	return s.Get("claims") // of type realtime
}
