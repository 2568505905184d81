package events

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/outbox"
	"github.com/mycelium-rt/mycelium/wire"
)

// Event is an event as back ends and followers receive it.
type Event struct {
	ID    string // unique, and the same each time the event is sent
	Kind  Kind
	Topic string
	JSON  json.RawMessage // the whole event
}

// A stored body is the event's JSON without the members id, time and node, and without
// the opening brace.

func beginBody(dst []byte, k Kind) []byte {
	return append(append(append(dst, `"type":"`...), k.String()...), '"')
}

func addString(dst []byte, name, value string) []byte {
	dst = append(append(append(dst, ',', '"'), name...), `":`...)
	return wire.AppendString(dst, value)
}

func addNumber(dst []byte, name string, value int64) []byte {
	dst = append(append(append(dst, ',', '"'), name...), `":`...)
	return strconv.AppendInt(dst, value, 10)
}

// endedBody is the body of Disconnected and Left. A negative duration is left out.
func endedBody(dst []byte, k Kind, topic, head, reason string, code uint16, duration int64) []byte {
	dst = beginBody(dst, k)
	if k == Left {
		dst = addString(dst, "topic", topic)
	}
	dst = append(dst, head...)
	dst = addString(dst, "reason", reason)
	if code != 0 {
		dst = addNumber(dst, "code", int64(code))
	}
	if k == Disconnected && duration >= 0 {
		dst = addNumber(dst, "duration_ms", duration)
	}
	return append(dst, '}')
}

func topicBody(dst []byte, k Kind, topic, head string) []byte {
	dst = beginBody(dst, k)
	if topic != "" {
		dst = addString(dst, "topic", topic)
	}
	return append(append(dst, head...), '}')
}

func publishedBody(dst []byte, o *channels.Observation, head string) []byte {
	dst = append(dst, publishedPrefix...)
	dst = wire.AppendString(dst, o.Event)
	dst = addString(dst, "topic", o.Topic)
	dst = append(dst, head...)
	if o.Payload.Binary {
		dst = append(dst, `,"payload_base64":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, o.Payload.Data)
		return append(dst, '"', '}')
	}
	return append(append(append(dst, `,"payload":`...), o.Payload.Data...), '}')
}

func presenceBody(dst []byte, p present, change string) []byte {
	dst = addString(beginBody(dst, Presence), "topic", p.topic)
	dst = addString(addString(dst, "key", p.key), "change", change)
	return append(append(append(dst, `,"meta":`...), p.meta...), '}')
}

// lostEvent is the body of a Lost event. Hook is set if only that hook has lost the
// events; it is then the topic of the stored record too.
type lostEvent struct {
	Type   string `json:"type"`
	Hook   string `json:"hook,omitempty"`
	Count  uint64 `json:"count"`
	First  string `json:"first,omitempty"`
	Last   string `json:"last,omitempty"`
	Reason string `json:"reason"`
}

func (l lostEvent) body() []byte {
	l.Type = Lost.String()
	text, err := json.Marshal(l)
	if err != nil {
		panic(err) // strings and numbers can always be encoded
	}
	return text[1:]
}

// id returns the id of the event with a number.
func (s *Stream) id(seq uint64) string { return s.epoch + "-" + strconv.FormatUint(seq, 10) }

// number returns the number in an id of this stream.
func (s *Stream) number(id string) (seq uint64, err error) {
	digits, ok := strings.CutPrefix(id, s.epoch+"-")
	if seq, err = strconv.ParseUint(digits, 10, 64); !ok || err != nil {
		return 0, fmt.Errorf("%q is not the id of an event of this instance on this node", id)
	}
	return seq, nil
}

// appendJSON appends the JSON of an event.
func (s *Stream) appendJSON(dst []byte, r *outbox.Record) []byte {
	dst = append(append(dst, `{"id":"`...), s.epoch...)
	dst = strconv.AppendUint(append(dst, '-'), r.Seq, 10)
	dst = timeOf(r.Time).AppendFormat(append(dst, `","time":"`...), "2006-01-02T15:04:05.000Z07:00")
	dst = append(dst, '"', ',')
	if node := s.options.Node; node != "" {
		dst = wire.AppendString(append(dst, `"node":`...), node)
		dst = append(dst, ',')
	}
	return append(dst, r.Body...)
}

func (s *Stream) eventOf(r *outbox.Record) Event {
	return Event{ID: s.id(r.Seq), Kind: Kind(r.Kind), Topic: r.Topic, JSON: s.appendJSON(nil, r)}
}

func milliseconds(t time.Time) int64 { return t.UnixMilli() }
