package chat

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
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

// bounds are the limits of a backlog.
type bounds struct {
	messages int
	bytes    int // of the messages' JSON
	age      time.Duration
}

// backlog holds the newest messages of a room. It has no clock and no lock.
type backlog struct {
	bounds bounds
	kept   []entry // by id
	bytes  int     // sum of kept's text
	last   int64   // id of the newest message ever
	lost   int64   // id of the newest message that is no longer kept, 0: none
}

type entry struct {
	Message
	text json.RawMessage
}

// add adds a message. If its user has sent one with the same key before, add
// returns that message and again is true.
func (b *backlog) add(user, body, key string, now time.Time) (e entry, again bool, err error) {
	if key != "" {
		for _, old := range slices.Backward(b.kept) {
			if old.Key == key && old.User == user {
				return old, true, nil
			}
		}
	}
	// Microseconds: such ids increase after a restart, and fit into
	// JavaScript's numbers.
	b.last = max(b.last+1, now.UnixMicro())
	e.Message = Message{ID: b.last, User: user, Body: body, At: now.UTC().Truncate(time.Millisecond), Key: key}
	if e.text, err = json.Marshal(e.Message); err != nil {
		return e, false, err
	}
	b.kept = append(b.kept, e)
	b.bytes += len(e.text)
	b.trim(now)
	return e, false, nil
}

// trim drops messages beyond the bounds, oldest first.
func (b *backlog) trim(now time.Time) {
	drop := 0
	for drop < len(b.kept) && (len(b.kept)-drop > b.bounds.messages || b.bytes > b.bounds.bytes || now.Sub(b.kept[drop].At) > b.bounds.age) {
		b.bytes -= len(b.kept[drop].text)
		b.lost = b.kept[drop].ID
		drop++
	}
	b.kept = slices.Delete(b.kept, 0, drop)
}

// since returns the messages after the one with this id; complete reports
// whether none of them is missing.
func (b *backlog) since(id int64, now time.Time) (texts []json.RawMessage, complete bool) {
	b.trim(now)
	texts = []json.RawMessage{} // [] in JSON, not null
	for _, e := range b.kept {
		if e.ID > id {
			texts = append(texts, e.text)
		}
	}
	return texts, id >= b.lost
}

// clear removes all messages.
func (b *backlog) clear() {
	b.kept, b.bytes, b.lost = nil, 0, b.last
}

// saved is the stored form of a backlog.
type saved struct {
	Room     string            `json:"room"` // its room: the key has only a hash of the name
	Last     int64             `json:"last"`
	Lost     int64             `json:"lost,omitempty"`
	Messages []json.RawMessage `json:"messages"`
}

func (b *backlog) encode(room string) ([]byte, error) {
	s := saved{Room: room, Last: b.last, Lost: b.lost, Messages: make([]json.RawMessage, len(b.kept))}
	for i, e := range b.kept {
		s.Messages[i] = e.text
	}
	return json.Marshal(s)
}

// decode reads what encode wrote, into an empty backlog.
func (b *backlog) decode(data []byte, now time.Time) error {
	var s saved
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("chat: a saved backlog is damaged: %w", err)
	}
	b.last, b.lost = s.Last, s.Lost
	for _, text := range s.Messages {
		e := entry{text: text}
		if err := json.Unmarshal(text, &e.Message); err != nil {
			return fmt.Errorf("chat: a saved message is damaged: %w", err)
		}
		b.kept = append(b.kept, e)
		b.bytes += len(text)
	}
	b.trim(now)
	return nil
}
