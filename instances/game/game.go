package game

import (
	"strings"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/units"
)

// topic is the only topic of an instance.
const topic = "game"

// Config is the configuration of an instance of [Type].
type Config struct {
	Rules     string         `json:"rules" jsonschema:"description=the game: tictactoe or connect4 or snake or one that the server adds"`
	Seats     int            `json:"seats,omitempty" jsonschema:"minimum=1,maximum=64,description=number of players; by default as many as the rules allow"`
	Clock     units.Duration `json:"clock,omitempty" jsonschema:"description=time that each player has for all moves of a turn-based game such as 5m; no limit by default"`
	Increment units.Duration `json:"increment,omitempty" jsonschema:"description=time that a move adds to the clock of its player such as 3s"`
	Rate      int            `json:"rate,omitempty" jsonschema:"minimum=1,maximum=60,description=ticks a second of a game that ticks; by default what suits the game"`
}

// Type returns the type of instances that are games, with the rules and worlds
// of this package and of your own.
func Type(own ...Kind) instances.Type {
	kinds := append([]Kind{{Rules: ticTacToe}, {Rules: connect4}, {World: snake}}, own...)
	return instances.Define("game", "One table with seats: turn-based with a clock, or ticking at a rate; everybody else watches. Rules: "+namesOf(kinds)+".",
		func(in *instances.Instance, c Config) (instances.Logic, error) {
			k, err := kindOf(kinds, c.Rules)
			if err != nil {
				return nil, err
			}
			if k.Rules != nil {
				return newTable(in, k.Rules, c)
			}
			return newArena(in, k.World, c)
		})
}

// Kind is a kind of game: Rules if it is turn-based, World if it ticks.
type Kind struct {
	Rules Rules
	World *World
}

// Name returns the name of the kind in a configuration.
func (k Kind) Name() string {
	if k.Rules != nil {
		return k.Rules.Name()
	}
	return k.World.Name
}

func kindOf(kinds []Kind, name string) (Kind, error) {
	for _, k := range kinds {
		if k.Name() == name {
			return k, nil
		}
	}
	return Kind{}, instances.Invalid("/rules", "%q is not a known game: choose one of %s", name, namesOf(kinds))
}

func namesOf(kinds []Kind) string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.Name()
	}
	return strings.Join(names, ", ")
}

// check returns what is wrong with a configuration of a game for least to most
// players.
func (c *Config) check(least, most int, ticks bool) error {
	if c.Seats == 0 {
		c.Seats = most
	}
	switch {
	case c.Seats < least || c.Seats > most:
		return instances.Invalid("/seats", "is %d: %s is for %d to %d", c.Seats, c.Rules, least, most)
	case c.Clock < 0 || c.Clock > 0 && time.Duration(c.Clock) < time.Second:
		return instances.Invalid("/clock", "must be at least 1s; leave it out for no limit")
	case c.Increment < 0:
		return instances.Invalid("/increment", "must not be negative")
	case c.Increment > 0 && c.Clock == 0:
		return instances.Invalid("/increment", "has no clock to add to: give /config/clock too")
	case ticks && c.Clock > 0:
		return instances.Invalid("/clock", "is for turn-based games: %s ticks", c.Rules)
	case !ticks && c.Rate > 0:
		return instances.Invalid("/rate", "is for games that tick: %s is turn-based", c.Rules)
	}
	return nil
}

// sameGame refuses a change to another game.
func (c *Config) sameGame(now Config) error {
	if c.Rules != now.Rules {
		return instances.Invalid("/rules", "cannot be changed: create another instance")
	}
	if c.Seats != 0 && c.Seats != now.Seats {
		return instances.Invalid("/seats", "cannot be changed: create another instance")
	}
	c.Seats = now.Seats
	return nil
}

// joinParams are a join's payload in either mode.
type joinParams struct {
	User  string `json:"user"`       // unless the socket has been given one
	Token string `json:"seat_token"` // to get a seat back
}

// joinReply is the reply to a join.
type joinReply struct {
	User string `json:"user"`
	Seat *int   `json:"seat"` // null: a spectator
}

// afterJoin is sent when the client is subscribed, so that what it is sent then
// has no gap.
type afterJoin struct{}

// stateDue is sent when the client must be sent the whole state.
type stateDue struct{}

// Values kept with a joined channel: the name of its client, its seat in an
// arena (-1: none), and its token for a seat at a table.
var (
	userKey  = channels.NewKey[string]("user")
	seatKey  = channels.NewKey[int]("seat")
	tokenKey = channels.NewKey[string]("token")
)

// appear tracks a client's presence, and sends it the presence state.
func appear(in *instances.Instance, c *channels.Context) error {
	if _, err := in.Presence().Track(c, userKey.Get(c), object{}); err != nil {
		return err
	}
	return in.Presence().PushState(c)
}

// seatOrNil returns at in the form for JSON.
func seatOrNil(at int) *int {
	if at < 0 {
		return nil
	}
	return &at
}

func noSuchEvent(events string) func(*channels.Context, string, channels.Payload) (channels.Reply, error) {
	return func(_ *channels.Context, event string, _ channels.Payload) (channels.Reply, error) {
		return channels.Reply{}, channels.Errorf("unknown event %q: this game takes %s", event, events)
	}
}

// object is the reply {}.
type object struct{}
