package game

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/instances/internal/visitor"
)

const (
	// stateKey is the name under which a match is saved.
	stateKey = "match"
	// saveAgain is how long to wait for a failing store after a clock has run
	// out.
	saveAgain = time.Second
)

// table is an instance of a turn-based game.
type table struct {
	in    *instances.Instance
	rules Rules

	// mu is held while a change is saved and sent, so that everybody sees the
	// changes in order.
	mu     sync.Mutex
	config Config      // guarded by mu, except Rules and Seats, which are static
	match  *match      // guarded by mu
	timer  *time.Timer // guarded by mu; fires when a clock runs out; nil: none runs
	stands bool        // guarded by mu; stopped: nothing changes from then on
}

var (
	_ instances.Starter  = (*table)(nil)
	_ instances.Stopper  = (*table)(nil)
	_ instances.Signaler = (*table)(nil)

	_ instances.Configurer[Config] = (*table)(nil)
)

func newTable(in *instances.Instance, rules Rules, c Config) (*table, error) {
	least, most := rules.Seats()
	if err := c.check(least, most, false); err != nil {
		return nil, err
	}
	return &table{in: in, rules: rules, config: c}, nil
}

func (t *table) newMatch() *match {
	return newMatch(t.rules, t.config.Seats, time.Duration(t.config.Clock), time.Duration(t.config.Increment))
}

// Start implements instances.Starter: it resumes the saved game. The time in
// which the server was down is not charged to a clock.
func (t *table) Start(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	data, err := t.in.Load(ctx, stateKey)
	if errors.Is(err, instances.ErrNoState) {
		t.match = t.newMatch()
		return nil
	}
	if err != nil {
		return err
	}
	t.match, err = decodeMatch(data, t.rules, t.config.Seats, time.Duration(t.config.Clock), time.Duration(t.config.Increment))
	if err != nil {
		return err
	}
	t.match.resume(time.Now())
	t.arm(0)
	return nil
}

// Stop implements instances.Stopper.
func (t *table) Stop(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stands = true
	t.arm(0)
	t.match.pause(time.Now())
	return t.save(ctx)
}

// Configure implements instances.Configurer: clocks can change between games.
func (t *table) Configure(_ context.Context, c Config) error {
	if err := c.sameGame(t.config); err != nil {
		return err
	}
	least, most := t.rules.Seats()
	if err := c.check(least, most, false); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.match.Status == playing {
		return instances.Invalid("/clock", "cannot be changed during a game")
	}
	t.config.Clock, t.config.Increment = c.Clock, c.Increment
	t.match.clock, t.match.increment = time.Duration(c.Clock), time.Duration(c.Increment)
	return nil
}

// Channels implements instances.Logic.
func (t *table) Channels() []*channels.Channel {
	ch := channels.Handle(topic, t.join)
	channels.Info(ch, t.joined)
	channels.Info(ch, t.pushState)
	channels.On(ch, "sit", t.sit)
	channels.On(ch, "move", t.move)
	t.on(ch, "stand", func(at int) error { return t.match.stand(at) })
	t.on(ch, "resign", func(at int) error { return t.match.resign(at) })
	t.on(ch, "draw", func(at int) error { return t.match.draw(at) })
	t.on(ch, "rematch", func(at int) error { return t.match.rematch(at, time.Now()) })
	ch.OnAny(noSuchEvent("sit, stand, move, resign, draw and rematch"))
	return []*channels.Channel{ch}
}

func (t *table) join(c *channels.Context, p joinParams) (joinReply, error) {
	name, err := visitor.Name(c, p.User)
	if err != nil {
		return joinReply{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.match.find(p.Token)
	if at >= 0 {
		name = t.match.Seats[at].User
		tokenKey.Set(c, p.Token)
	}
	userKey.Set(c, name)
	return joinReply{name, seatOrNil(at)}, c.Send(afterJoin{})
}

func (t *table) joined(c *channels.Context, _ afterJoin) error {
	if err := appear(t.in, c); err != nil {
		return err
	}
	return t.pushState(c, stateDue{})
}

func (t *table) pushState(c *channels.Context, due stateDue) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	v, err := t.match.view(time.Now())
	if err != nil {
		return err
	}
	return c.PushFresh("state", v, due)
}

type sitParams struct {
	Seat *int `json:"seat"` // any if it is left out
}

type sitReply struct {
	Seat int `json:"seat"`
	// Token is the player's secret: a join with it as seat_token gets the seat
	// back, even from another device.
	Token string `json:"token"`
}

func (t *table) sit(c *channels.Context, p sitParams) (sitReply, error) {
	want := -1
	if p.Seat != nil {
		want = max(0, *p.Seat)
		if want != *p.Seat || want >= t.config.Seats {
			return sitReply{}, channels.Errorf("seat is %d: it is 0 to %d", *p.Seat, t.config.Seats-1)
		}
	}
	reply := sitReply{Token: rand.Text()}
	err := t.changeMatch(c, func(now time.Time) (err error) {
		if t.seated(c) >= 0 {
			return refuse("you already have a seat")
		}
		reply.Seat, err = t.match.sit(want, userKey.Get(c), reply.Token, now)
		return err
	})
	if err != nil {
		return sitReply{}, err
	}
	tokenKey.Set(c, reply.Token)
	return reply, nil
}

// seated returns the present seat of a channel by its token, -1 if it has none:
// the seat may have been given up on another device.
func (t *table) seated(c *channels.Context) int { // with mu
	token := tokenKey.Get(c)
	return t.match.find(token)
}

type moveReply struct {
	Version int64 `json:"version"` // of the state that the move has made
}

func (t *table) move(c *channels.Context, move json.RawMessage) (reply moveReply, err error) {
	err = t.asPlayer(c, func(at int, now time.Time) error {
		if err := t.match.move(at, move, now); err != nil {
			return err
		}
		reply.Version = t.match.Version
		return nil
	})
	return reply, err
}

// on registers a players' event without a payload.
func (t *table) on(ch *channels.Channel, event string, do func(at int) error) {
	channels.On(ch, event, func(c *channels.Context, _ object) (object, error) {
		return object{}, t.asPlayer(c, func(at int, _ time.Time) error { return do(at) })
	})
}

func (t *table) asPlayer(c *channels.Context, do func(at int, now time.Time) error) error {
	return t.changeMatch(c, func(now time.Time) error {
		at := t.seated(c)
		if at < 0 {
			return refuse("you have no seat: sit first")
		}
		return do(at, now)
	})
}

// changeMatch changes the match, saves it and sends the new state to everybody.
// If saving fails, the change is undone.
func (t *table) changeMatch(ctx context.Context, do func(now time.Time) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stands {
		return channels.Errorf("the server stops: try again in a moment")
	}
	before, err := t.match.encode()
	if err != nil {
		return err
	}
	now := time.Now()
	if err := do(now); err != nil {
		var no refusal
		if errors.As(err, &no) {
			return channels.Errorf("%s", string(no))
		}
		return err
	}
	if err := t.save(ctx); err != nil {
		m, undone := decodeMatch(before, t.rules, len(t.match.Seats), t.match.clock, t.match.increment)
		if undone != nil {
			panic(undone) // it has just been written
		}
		t.match = m
		t.arm(saveAgain)
		t.in.Log().Error().Err(err).Msg("a change of the game was not saved, and is taken back")
		return channels.Errorf("the server could not save this: try again")
	}
	t.arm(0)
	return t.sendState(now)
}

func (t *table) save(ctx context.Context) error { // with mu
	data, err := t.match.encode()
	if err != nil {
		return err
	}
	// A move counts even if its client goes away while it is saved.
	return t.in.Save(context.WithoutCancel(ctx), stateKey, data)
}

func (t *table) sendState(now time.Time) error { // with mu
	v, err := t.match.view(now)
	if err != nil {
		return err
	}
	return t.in.Broadcast(topic, "state", v)
}

// arm sets the timer for the running clock, but no sooner than soonest.
func (t *table) arm(soonest time.Duration) { // with mu
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
	if due := t.match.deadline(); !t.stands && !due.IsZero() {
		t.timer = time.AfterFunc(max(soonest, time.Until(due)), func() { t.in.Go("a player's clock", t.clockRanOut) })
	}
}

// clockRanOut ends the game, unless there has been a move meanwhile.
func (t *table) clockRanOut(ctx context.Context) error {
	if ctx.Err() != nil { // this life has ended
		return nil
	}
	err := t.changeMatch(ctx, func(now time.Time) error {
		if !t.match.flag(now) {
			t.arm(0) // a wall clock was set
			return refuse("there is time left")
		}
		return nil
	})
	var refused *channels.ReplyError
	switch {
	case errors.As(err, &refused):
		return nil
	case errors.Is(err, channels.ErrOverloaded): // the game has ended, and that is saved: only its players do not know yet
		return retrySend(ctx, func() error {
			t.mu.Lock()
			defer t.mu.Unlock()
			return t.sendState(time.Now())
		})
	}
	return err
}

// sendAgain is how long to wait before a state is sent again that an overload has refused.
const sendAgain = time.Second

// retrySend calls send until the instance is not overloaded, or ctx ends. An error that the
// clock's goroutine returned would be a crash of the instance.
func retrySend(ctx context.Context, send func() error) error {
	for {
		select {
		case <-time.After(sendAgain):
		case <-ctx.Done():
			return nil
		}
		if err := send(); !errors.Is(err, channels.ErrOverloaded) {
			return err
		}
	}
}

// Signal implements instances.Signaler: the application reads the state, or
// resets the table.
func (t *table) Signal(ctx context.Context, name string, _ json.RawMessage) (any, error) {
	switch name {
	case "state":
		t.mu.Lock()
		defer t.mu.Unlock()
		return t.match.view(time.Now())
	case "reset":
		return nil, t.changeMatch(ctx, func(time.Time) error {
			version := t.match.Version
			t.match = t.newMatch()
			t.match.Version = version + 1
			return nil
		})
	}
	return nil, &instances.SignalError{Reason: fmt.Sprintf("unknown signal %q: this game takes state and reset", name)}
}
