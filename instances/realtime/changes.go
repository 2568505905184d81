package realtime

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"

	"github.com/mycelium-rt/mycelium/channels"
)

// errChangesRefused is the error for a channel that listens to a database.
var errChangesRefused = channels.Errorf("PostgresChangesUnavailable: this server does not deliver postgres_changes; " +
	"remove .on('postgres_changes', …) from this channel")

// changesUnavailable begins the system message that says the same.
const changesUnavailable = "Unable to subscribe to changes: this server does not deliver postgres_changes. Parameters: "

// changesIn returns the changes that a join asks for. It skips null items.
func changesIn(raw json.RawMessage) []object {
	var items []json.RawMessage
	if len(raw) == 0 || raw[0] != '[' || json.Unmarshal(raw, &items) != nil {
		return nil
	}
	var changes []object
	for _, item := range items {
		if o := objectOf(item); o != nil {
			changes = append(changes, o)
		}
	}
	return changes
}

// changesOf returns the changes that a channel listens to. Without a config, the topic names
// them: schema, table and filter (realtime_channel.ex, pg_change_params).
func (j *params) changesOf(c *channels.Context) []object {
	if j.newAPI {
		return j.changes
	}
	change := make(object)
	for i, part := range strings.SplitN(c.Subtopic(), ":", 3) {
		text, err := json.Marshal(part)
		if err != nil {
			continue // a string can always be encoded
		}
		change[[]string{"schema", "table", "filter"}[i]] = text
	}
	return []object{change}
}

// identified returns the changes as they came, each with an id that equal changes share.
// Clients compare them with their own by position (realtime-js, RealtimeChannel.ts).
func identified(changes []object) []json.RawMessage {
	list := make([]json.RawMessage, 0, len(changes)) // [], not null
	for _, change := range changes {
		change = maps.Clone(change)
		delete(change, "id")
		change["id"] = fmt.Appendf(nil, "%d", change.hash())
		text, err := json.Marshal(change)
		if err != nil {
			continue // it came as JSON
		}
		list = append(list, text)
	}
	return list
}

// maxChangeID is the largest id of a change, as in Supabase (erlang:phash2).
const maxChangeID = 1<<27 - 1

func (o object) hash() uint32 {
	h := fnv.New32a()
	for _, key := range slices.Sorted(maps.Keys(o)) {
		fmt.Fprintf(h, "%q:%s,", key, o[key])
	}
	return h.Sum32() & maxChangeID
}

// reportChanges tells a client that asked for changes that it will get none.
func (l *logic) reportChanges(c *channels.Context, s *session) error {
	for _, change := range s.changes {
		if err := l.system(c, statusError, extensionChanges, changesUnavailable+change.String()); err != nil {
			return err
		}
	}
	return nil
}

// String returns the change as Supabase's messages do: [event: INSERT, schema: public].
func (o object) String() string {
	var b bytes.Buffer
	b.WriteByte('[')
	for i, key := range slices.Sorted(maps.Keys(o)) {
		if i > 0 {
			b.WriteString(", ")
		}
		value, ok := o.text(key)
		if !ok {
			value = string(o[key])
		}
		fmt.Fprintf(&b, "%s: %s", key, value)
	}
	b.WriteByte(']')
	return b.String()
}
