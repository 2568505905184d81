package game

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/instances/internal/visitor"
)

// arena is an instance of a game that ticks. Nothing of it is saved: it starts
// again with the server.
type arena struct {
	in     *instances.Instance
	kind   *World
	config Config

	mu    sync.Mutex
	world Ticking  // guarded by mu
	n     int64    // guarded by mu; of the last tick
	users []string // guarded by mu; by seat, empty: free
	taken int      // guarded by mu; seats
}

var (
	_ instances.Ticker   = (*arena)(nil)
	_ instances.Signaler = (*arena)(nil)

	_ instances.Configurer[Config] = (*arena)(nil)
)

func newArena(in *instances.Instance, kind *World, c Config) (*arena, error) {
	if err := c.check(1, kind.Seats, true); err != nil {
		return nil, err
	}
	c.Rate = cmp.Or(c.Rate, kind.Rate)
	random := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	return &arena{in: in, kind: kind, config: c, world: kind.New(c.Seats, random), users: make([]string, c.Seats)}, nil
}

// Configure implements instances.Configurer: another rate needs a restart.
func (a *arena) Configure(_ context.Context, c Config) error {
	if err := c.sameGame(a.config); err != nil {
		return err
	}
	return instances.ErrRestart
}

// TickEvery implements instances.Ticker.
func (a *arena) TickEvery() time.Duration { return time.Second / time.Duration(a.config.Rate) }

// tickPush is the change of a tick.
type tickPush struct {
	N     int64 `json:"n"` // one more than at the previous tick
	Delta any   `json:"delta"`
}

// Tick implements instances.Ticker. The world stands still while nobody plays,
// and while ticks cannot be sent to its players.
func (a *arena) Tick(time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.taken == 0 || errors.Is(a.in.Endpoint().Ready(), channels.ErrOverloaded) {
		return nil
	}
	a.n++
	return a.in.Broadcast(topic, "tick", tickPush{a.n, a.world.Tick()})
}

// Channels implements instances.Logic.
func (a *arena) Channels() []*channels.Channel {
	ch := channels.Handle(topic, a.join)
	channels.Info(ch, a.joined)
	channels.Info(ch, a.pushState)
	channels.On(ch, "sit", a.sit)
	channels.On(ch, "stand", a.stand)
	channels.On(ch, "input", a.input)
	channels.On(ch, "state", func(c *channels.Context, _ object) (arenaState, error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.state(), nil
	})
	ch.OnAny(noSuchEvent("sit, stand, input and state"))
	return []*channels.Channel{ch}
}

func (a *arena) join(c *channels.Context, p joinParams) (joinReply, error) {
	name, err := visitor.Name(c, p.User)
	if err != nil {
		return joinReply{}, err
	}
	userKey.Set(c, name)
	c.OnEnd(func() { a.vacate(c) }) // registered once, because a client may sit repeatedly
	return joinReply{User: name}, c.Send(afterJoin{})
}

// arenaState is the whole state after a tick.
type arenaState struct {
	Rules string    `json:"rules"`
	N     int64     `json:"n"`    // of the last tick
	Rate  int       `json:"rate"` // ticks a second
	Seats []*string `json:"seats"`
	World any       `json:"world"`
}

func (a *arena) state() arenaState { // with mu
	return arenaState{a.kind.Name, a.n, a.config.Rate, a.seats(), a.world.State()}
}

func (a *arena) seats() []*string { // with mu
	seats := make([]*string, len(a.users))
	for i := range a.users {
		if user := a.users[i]; user != "" {
			seats[i] = &user
		}
	}
	return seats
}

func (a *arena) joined(c *channels.Context, _ afterJoin) error {
	if err := appear(a.in, c); err != nil {
		return err
	}
	return a.pushState(c, stateDue{})
}

func (a *arena) pushState(c *channels.Context, due stateDue) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return c.PushFresh("state", a.state(), due)
}

type seatsPush struct {
	Seats []*string `json:"seats"`
}

type arenaSeat struct {
	Seat int `json:"seat"`
}

// sit gives the client a seat until it stands up or leaves.
func (a *arena) sit(c *channels.Context, _ object) (arenaSeat, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if seatOf(c) >= 0 {
		return arenaSeat{}, channels.Errorf("you already have a seat")
	}
	at := slices.Index(a.users, "")
	if at < 0 {
		return arenaSeat{}, channels.Errorf("all %d seats are taken", len(a.users))
	}
	a.users[at] = userKey.Get(c)
	a.taken++
	a.world.Enter(at)
	seatKey.Set(c, at)
	return arenaSeat{at}, a.in.Broadcast(topic, "seats", seatsPush{a.seats()})
}

func (a *arena) stand(c *channels.Context, _ object) (object, error) {
	if !a.vacate(c) {
		return object{}, channels.Errorf("you have no seat: sit first")
	}
	return object{}, nil
}

// seatOf returns the seat of a channel, -1 if it has none.
func seatOf(c *channels.Context) int {
	if at, ok := seatKey.Lookup(c); ok {
		return at
	}
	return -1
}

// vacate frees the seat of a channel, if it has one.
func (a *arena) vacate(c *channels.Context) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	at := seatOf(c)
	if at < 0 {
		return false
	}
	seatKey.Set(c, -1)
	a.users[at] = ""
	a.taken--
	a.world.Leave(at)
	if err := a.in.Broadcast(topic, "seats", seatsPush{a.seats()}); err != nil {
		a.in.Log().Error().Err(err).Msg("a seat that became free was not announced")
	}
	return true
}

func (a *arena) input(c *channels.Context, input json.RawMessage) (object, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at := seatOf(c)
	if at < 0 {
		return object{}, channels.Errorf("you have no seat: sit first")
	}
	if err := a.world.Input(at, input); err != nil {
		return object{}, channels.Errorf("%v", err)
	}
	return object{}, nil
}

// Signal implements instances.Signaler: the application reads the state.
func (a *arena) Signal(_ context.Context, name string, _ json.RawMessage) (any, error) {
	if name != "state" {
		return nil, &instances.SignalError{Reason: fmt.Sprintf("unknown signal %q: this game takes state", name)}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state(), nil
}
