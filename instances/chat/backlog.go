package chat

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"time"

	"github.com/mycelium-rt/mycelium/history"
)

// Message is a message in a room.
type Message struct {
	// ID is unique in its room and larger than that of every earlier message,
	// even after restarts.
	ID   int64     `json:"id"`
	User string    `json:"user"`
	Body string    `json:"body"`
	At   time.Time `json:"at"` // by the server's clock, UTC
	// Key is the client's own name for the message, so that a client without an
	// answer can send it again.
	Key string `json:"key,omitempty"`
}

// entry is a message that is kept: a recorded broadcast of the event new_msg.
type entry struct {
	id   int64
	at   time.Time
	text []byte // the Message as JSON
}

// entryBytes is about what history counts for a message beside its text.
const entryBytes = 40

// entriesOf returns the messages of a room among those recorded on its topic.
func entriesOf(recorded []history.Message) []entry {
	list := make([]entry, 0, len(recorded))
	for i := range recorded {
		m := &recorded[i]
		if m.Event != "new_msg" || m.Binary {
			continue
		}
		if id := idOf(m.Payload); id > 0 { // not so if the application has broadcast something else
			list = append(list, entry{id, m.Time, m.Payload})
		}
	}
	return list
}

// idOf returns the id of a message, 0 if it has none.
func idOf(text []byte) int64 {
	if rest, ok := bytes.CutPrefix(text, []byte(`{"id":`)); ok { // as json.Marshal writes a Message
		if end := bytes.IndexByte(rest, ','); end > 0 {
			if id, err := strconv.ParseInt(string(rest[:end]), 10, 64); err == nil {
				return id
			}
		}
	}
	var m struct{ ID int64 }
	if json.Unmarshal(text, &m) != nil {
		return 0
	}
	return m.ID
}

// merge returns the messages that are in one of two lists, by id, within the bounds of a
// rule.
func merge(a, b []entry, rule *history.Rule, now time.Time) []entry {
	list := slices.Concat(a, b)
	slices.SortStableFunc(list, func(x, y entry) int { return cmp.Compare(x.id, y.id) })
	list = slices.CompactFunc(list, func(x, y entry) bool { return x.id == y.id })
	return within(list, rule.Messages, rule.Bytes, now.Add(-rule.Age))
}

// within returns the last messages that are not too many, too large together or too old.
func within(list []entry, messages, size int, oldest time.Time) []entry {
	first := len(list)
	for first > 0 && len(list)-first < messages && !list[first-1].at.Before(oldest) {
		if size -= len(list[first-1].text) + entryBytes; size < 0 {
			break
		}
		first--
	}
	return list[first:]
}

// backlog is what a room knows about its messages beside what history keeps. It has no
// clock and no lock.
type backlog struct {
	last  int64  // id of the newest message ever
	lost  int64  // id of the newest message that is known to be no longer kept, 0: none
	notes []note // of the messages since then, by id; some of them may no longer be kept
}

// note is about one message.
type note struct {
	id  int64
	key uint64 // keyHash of its user and key, 0: it has none
}

var keySeed = maphash.MakeSeed()

func keyHash(user, key string) uint64 {
	if key == "" {
		return 0
	}
	return max(1, maphash.Comparable(keySeed, [2]string{user, key}))
}

// next returns a new message.
func (b *backlog) next(user, body, key string, now time.Time) Message {
	// Microseconds: such ids increase after a restart, and fit into
	// JavaScript's numbers.
	b.last = max(b.last+1, now.UnixMicro())
	return Message{ID: b.last, User: user, Body: body, At: now.UTC().Truncate(time.Millisecond), Key: key}
}

// sent notes a message that was sent; at most so many messages are kept.
func (b *backlog) sent(m *Message, most int) {
	b.notes = append(b.notes, note{m.ID, keyHash(m.User, m.Key)})
	if extra := len(b.notes) - most; extra > most+64 {
		b.lost = max(b.lost, b.notes[extra-1].id)
		b.notes = slices.Delete(b.notes, 0, extra)
	}
}

// find returns the message with a user's key among those that are kept.
func (b *backlog) find(user, key string, kept func() ([]entry, error)) (m Message, found bool, err error) {
	hash := keyHash(user, key)
	i := len(b.notes) - 1
	for i >= 0 && b.notes[i].key != hash {
		i--
	}
	if hash == 0 || i < 0 {
		return m, false, nil
	}
	list, err := kept()
	if err != nil {
		return m, false, err
	}
	for _, e := range list {
		if e.id == b.notes[i].id {
			err = json.Unmarshal(e.text, &m)
			return m, err == nil && m.User == user && m.Key == key, err
		}
	}
	return m, false, nil
}

// since returns the messages after the one with this id, of those that are kept; complete
// reports whether none of them is missing.
func (b *backlog) since(kept []entry, id int64) (texts []json.RawMessage, complete bool) {
	texts = []json.RawMessage{} // [] in JSON, not null
	for _, e := range kept {
		if e.id > id {
			texts = append(texts, e.text)
		}
	}
	return texts, id >= b.lostBefore(kept)
}

// lostBefore returns the id of the newest message that is older than all that are kept.
func (b *backlog) lostBefore(kept []entry) int64 {
	oldest := b.last + 1
	for _, e := range kept {
		oldest = min(oldest, e.id)
	}
	for _, n := range slices.Backward(b.notes) {
		if n.id < oldest {
			return max(n.id, b.lost)
		}
	}
	return b.lost
}

// clear forgets all messages.
func (b *backlog) clear() { b.notes, b.lost = nil, b.last }

// saved is the stored form of a backlog.
type saved struct {
	Room     string            `json:"room"` // its room: the key has only a hash of the name
	Last     int64             `json:"last"`
	Lost     int64             `json:"lost,omitempty"`
	Messages []json.RawMessage `json:"messages"`
}

// maxSaved bounds the messages that are saved of a room: with what JSON adds they must fit
// into one state. Only a spec with a history of its own keeps more in memory.
const maxSaved = 900_000

// encode returns what is saved of a room with these messages.
func (b *backlog) encode(room string, kept []entry) ([]byte, error) {
	fit := within(kept, len(kept), maxSaved, time.Time{})
	s := saved{Room: room, Last: b.last, Lost: b.lostBefore(fit), Messages: make([]json.RawMessage, len(fit))}
	for i, e := range fit {
		s.Messages[i] = e.text
	}
	return json.Marshal(s)
}

// decode reads what encode has returned.
func decode(data []byte) (s saved, kept []entry, err error) {
	if err := json.Unmarshal(data, &s); err != nil {
		return s, nil, fmt.Errorf("chat: a saved backlog is damaged: %w", err)
	}
	for _, text := range s.Messages {
		var m Message
		if err := json.Unmarshal(text, &m); err != nil {
			return s, nil, fmt.Errorf("chat: a saved message is damaged: %w", err)
		}
		kept = append(kept, entry{m.ID, m.At, text})
	}
	return s, kept, nil
}

// restore makes the backlog that of a room of which s was saved, with the stored messages,
// some of which are kept.
func (b *backlog) restore(s *saved, stored, kept []entry) {
	b.last, b.lost, b.notes = s.Last, s.Lost, nil
	for _, e := range stored {
		if len(kept) == 0 || e.id < kept[0].id {
			b.lost = max(b.lost, e.id)
		}
	}
	for _, e := range kept {
		var m Message
		if json.Unmarshal(e.text, &m) == nil { // else the application has broadcast it
			b.notes = append(b.notes, note{e.id, keyHash(m.User, m.Key)})
		}
		b.last = max(b.last, e.id)
	}
	slices.SortFunc(b.notes, func(x, y note) int { return cmp.Compare(x.id, y.id) })
}
