package chat

import (
	"cmp"
	"time"

	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/units"
)

// Config is the configuration of an instance of [Type].
type Config struct {
	Backlog      *int           `json:"backlog,omitempty" jsonschema:"minimum=0,maximum=10000,default=100,description=messages that a room keeps for clients that join later; 0: none"`
	BacklogBytes int            `json:"backlog_bytes,omitempty" jsonschema:"minimum=1,maximum=900000,default=262144,description=bytes that these messages may have together"`
	BacklogAge   units.Duration `json:"backlog_age,omitempty" jsonschema:"default=24h,description=how long a message is kept"`
	MaxBody      int            `json:"max_body,omitempty" jsonschema:"minimum=1,maximum=65536,default=4000,description=bytes of the longest message"`
	MaxRooms     int            `json:"max_rooms,omitempty" jsonschema:"minimum=1,maximum=5000,default=1000,description=rooms that may be in use at a time and backlogs that are kept; beyond that the client with the most loses the one that was silent longest"`
	RoomShare    int            `json:"room_share,omitempty" jsonschema:"minimum=1,maximum=100,default=25,description=percent of the rooms not opened by others that one client may have open; 100: all of them"`
}

// Defaults of a Config.
const (
	defaultBacklog      = 100
	defaultBacklogBytes = 256 << 10
	defaultBacklogAge   = 24 * time.Hour
	defaultMaxBody      = 4000
	defaultMaxRooms     = 1000
)

// HistoryRules implements instances.Recorder: a spec without a history of its own records
// the messages of all rooms.
func (c Config) HistoryRules() []instances.HistoryRule {
	c, err := c.withDefaults()
	if err != nil || *c.Backlog == 0 {
		return nil
	}
	return []instances.HistoryRule{{
		Topics: []string{topicPrefix + "*"}, Events: []string{"new_msg"},
		Messages: *c.Backlog, Age: c.BacklogAge, Bytes: units.Bytes(c.BacklogBytes),
	}}
}

// withDefaults fills in defaults and checks what the schema cannot express.
func (c Config) withDefaults() (Config, error) {
	if c.BacklogAge < 0 {
		return c, instances.Invalid("/backlog_age", "must not be negative; leave it out for %v", defaultBacklogAge)
	}
	if c.Backlog == nil {
		n := defaultBacklog
		c.Backlog = &n
	}
	c.BacklogBytes = cmp.Or(c.BacklogBytes, defaultBacklogBytes)
	c.BacklogAge = cmp.Or(c.BacklogAge, units.Duration(defaultBacklogAge))
	c.MaxBody = cmp.Or(c.MaxBody, defaultMaxBody)
	c.MaxRooms = cmp.Or(c.MaxRooms, defaultMaxRooms)
	return c, nil
}
