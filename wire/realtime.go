package wire

import (
	"strings"
	"unicode/utf8"
)

// Realtime is the dialect of Supabase Realtime, versions 1.0.0 and 2.0.0, selected as
// by [Phoenix]. It differs from that of Phoenix in these points:
//
//   - Version 2 has two kinds of binary messages for broadcasts of clients: kind 3 from a
//     client, and kind 4 to one. They carry an event of the application, and JSON or
//     bytes. A channel gets the event "broadcast" with a payload that
//     [ParseUserBroadcast] reads. If it is relayed unchanged, clients of version 2 get
//     kind 4; clients of version 1 and of long polling get the JSON of a text broadcast,
//     or nothing if it has bytes.
//   - A message that cannot be read is ignored ([ErrIgnored]), and so are binary messages
//     of other kinds and events that are not strings.
//   - Only joins keep their join_ref. With other messages clients send stale ones or none
//     (supabase-kt, RealtimeChannelImpl.kt), and are still answered.
//   - Broadcasts to a topic within [RealtimePrivate] are sent without that prefix.
//
// Sources: lib/realtime_web/socket/v2_serializer.ex and user_broadcast.ex of
// supabase/realtime, src/lib/serializer.ts of realtime-js.
func Realtime(o Offer) (Serializer, error) {
	s, err := Phoenix(o)
	if err != nil {
		return nil, err
	}
	if s == Serializer(V1{}) {
		return realtimeV1{}, nil
	}
	return realtimeV2{textOnly: o.TextOnly}, nil
}

// RealtimePrivate is the scope of private channels, which precedes their topics within
// the server. Clients never see it.
const RealtimePrivate = "private:"

// realtimeTopic returns the topic that clients know.
func realtimeTopic(topic string) string {
	return strings.TrimPrefix(topic, RealtimePrivate)
}

// broadcastEvent is the event of all broadcasts of clients.
const broadcastEvent = "broadcast"

// kindUserBroadcastOut is kind 3 on its way to the receivers.
const kindUserBroadcastOut = 4

// UserBroadcast is a message of kind 3 or 4: what a client, or a back end over HTTP, sends
// to the clients of a channel.
type UserBroadcast struct {
	Event string // the application's
	// Meta is a JSON object, or empty. The meta of kind 3 is not relayed.
	Meta []byte
	// Data is JSON if JSON is true, arbitrary bytes otherwise.
	Data []byte
	JSON bool
}

// userBroadcastHeader is the size of what precedes the event in a payload: the sizes of event and
// meta, and the encoding.
const userBroadcastHeader = 3

// Payload returns the message as the payload of the event "broadcast". It returns
// [ErrTooLong] if the event or the meta has more than 255 bytes.
func (u UserBroadcast) Payload() (Payload, error) {
	if len(u.Event) > maxField || len(u.Meta) > maxField {
		return Payload{}, ErrTooLong
	}
	data := make([]byte, 0, userBroadcastHeader+len(u.Event)+len(u.Meta)+len(u.Data))
	data = append(data, byte(len(u.Event)), byte(len(u.Meta)), 0)
	if u.JSON {
		data[2] = 1
	}
	data = append(data, u.Event...)
	data = append(data, u.Meta...)
	return Payload{Data: append(data, u.Data...), Binary: true}, nil
}

// ParseUserBroadcast reads the payload of an event "broadcast" that was sent as kind 3, or made by
// [UserBroadcast.Payload]. Meta and Data point into it. ok is false for other payloads.
func ParseUserBroadcast(p Payload) (u UserBroadcast, ok bool) {
	event, meta, data := splitUserBroadcast(p)
	if event == nil {
		return u, false
	}
	return UserBroadcast{Event: string(event), Meta: meta, Data: data, JSON: p.Data[2] != 0}, true
}

// splitUserBroadcast returns the parts of a payload of [UserBroadcast.Payload], nil for others.
func splitUserBroadcast(p Payload) (event, meta, data []byte) {
	if !p.Binary || len(p.Data) < userBroadcastHeader {
		return nil, nil, nil
	}
	metaAt := userBroadcastHeader + int(p.Data[0])
	dataAt := metaAt + int(p.Data[1])
	if dataAt > len(p.Data) {
		return nil, nil, nil
	}
	return p.Data[userBroadcastHeader:metaAt], p.Data[metaAt:dataAt], p.Data[dataAt:]
}

// isUserBroadcast reports whether what the server sends is a [UserBroadcast].
func isUserBroadcast(event string, p Payload) bool {
	if event != broadcastEvent {
		return false
	}
	name, _, _ := splitUserBroadcast(p)
	return name != nil
}

// appendUserJSON appends the payload of the text broadcast that is equivalent to a user broadcast. It returns
// ErrNotText for bytes.
func appendUserJSON(dst []byte, p Payload) ([]byte, error) {
	if p.Data[2] == 0 {
		return dst, ErrNotText
	}
	event, meta, data := splitUserBroadcast(p)
	dst = append(dst, `{"event":`...)
	dst = AppendString(dst, event)
	if len(meta) > 0 {
		dst = append(dst, `,"meta":`...)
		dst = append(dst, meta...)
	}
	dst = append(dst, `,"payload":`...)
	dst = append(dst, data...)
	return append(dst, `,"type":"broadcast"}`...), nil
}

// lenient turns the outcome of a Decode into that of the dialect.
func (m *Message) lenient(err error) error {
	if err != nil || !m.EventIsString {
		return ErrIgnored
	}
	if string(m.Event) != "phx_join" {
		m.JoinRef = nil
	}
	return nil
}

// realtimeV1 is version 1.0.0 of the dialect.
type realtimeV1 struct{ V1 }

// Decode implements Serializer.
func (s realtimeV1) Decode(frame []byte, binary bool, m *Message) error {
	return m.lenient(s.V1.Decode(frame, binary, m))
}

// AppendPush implements Serializer.
func (s realtimeV1) AppendPush(dst []byte, joinRef Ref, topic, event string, p Payload) ([]byte, bool, error) {
	if !isUserBroadcast(event, p) {
		return s.V1.AppendPush(dst, joinRef, topic, event, p)
	}
	out, err := appendUserJSON(appendV1Head(dst, event), p)
	if err != nil {
		return dst, false, err
	}
	return appendV1Tail(out, nil, topic), false, nil
}

// AppendBroadcast implements Serializer.
func (s realtimeV1) AppendBroadcast(dst []byte, topic, event string, p Payload) ([]byte, bool, error) {
	return s.AppendPush(dst, nil, realtimeTopic(topic), event, p)
}

// realtimeV2 is version 2.0.0 of the dialect. With textOnly it sends no kind 4, for transports
// without binary messages.
type realtimeV2 struct {
	V2
	textOnly bool
}

// Decode implements Serializer.
func (s realtimeV2) Decode(frame []byte, binary bool, m *Message) error {
	if !binary {
		return m.lenient(s.V2.Decode(frame, false, m))
	}
	m.reset()
	if !m.decodeUserBroadcast(frame) {
		return ErrIgnored
	}
	return nil
}

// AppendPush implements Serializer.
func (s realtimeV2) AppendPush(dst []byte, joinRef Ref, topic, event string, p Payload) ([]byte, bool, error) {
	if isUserBroadcast(event, p) {
		return s.appendUserBroadcast(dst, topic, p)
	}
	return s.V2.AppendPush(dst, joinRef, topic, event, p)
}

// AppendBroadcast implements Serializer.
func (s realtimeV2) AppendBroadcast(dst []byte, topic, event string, p Payload) ([]byte, bool, error) {
	topic = realtimeTopic(topic)
	if isUserBroadcast(event, p) {
		return s.appendUserBroadcast(dst, topic, p)
	}
	return s.V2.AppendBroadcast(dst, topic, event, p)
}

// appendUserBroadcast appends a message of kind 4, or a text message where that is not possible.
func (s realtimeV2) appendUserBroadcast(dst []byte, topic string, p Payload) ([]byte, bool, error) {
	if s.textOnly || len(topic) > maxField {
		out, err := appendUserJSON(appendV2Head(dst, nil, nil, topic, broadcastEvent), p)
		if err != nil {
			return dst, false, err
		}
		return append(out, ']'), false, nil
	}
	dst = append(dst, kindUserBroadcastOut, byte(len(topic)))
	dst = append(dst, p.Data[:userBroadcastHeader]...)
	dst = append(dst, topic...)
	return append(dst, p.Data[userBroadcastHeader:]...), true, nil
}

// The fields of kind 3, in the order in which its header has their sizes.
const (
	fieldJoinRef = iota
	fieldRef
	fieldTopic
	fieldEvent
	fieldMeta
	userBroadcastFields
)

// decodeUserBroadcast reads a message of kind 3:
//
//	3, the sizes of join_ref, ref, topic, event and meta, the encoding (0: bytes), these fields, the data
//
// and builds the payload in place, without the meta. It returns false if frame is no such message.
func (m *Message) decodeUserBroadcast(frame []byte) bool {
	const header = 1 + userBroadcastFields + 1
	if len(frame) < header || frame[0] != kindUserBroadcast {
		return false
	}
	var fields [userBroadcastFields][]byte
	at := header
	for n := range fields {
		end := at + int(frame[1+n])
		if end > len(frame) {
			return false
		}
		fields[n] = frame[at:end:end]
		if n != fieldMeta && !utf8.Valid(fields[n]) {
			return false
		}
		at = end
	}
	data := frame[at:]
	var encoding byte
	if frame[header-1] != 0 {
		compact, err := Validate(data)
		if err != nil {
			return false
		}
		data, encoding = compact, 1
	}
	if len(fields[fieldMeta]) > 0 {
		if _, err := Validate(fields[fieldMeta]); err != nil {
			return false
		}
	}
	m.Ref = m.quote(fields[fieldRef])
	m.TopicJSON = m.quote(fields[fieldTopic])
	start := len(m.scratch)
	m.scratch = append(m.scratch, fields[fieldTopic]...) // what follows may overwrite it
	m.Topic, m.TopicIsString = m.scratch[start:], true
	event := fields[fieldEvent]
	start = at - len(event)
	copy(frame[start:at], event)
	start -= userBroadcastHeader
	frame[start], frame[start+1], frame[start+2] = byte(len(event)), 0, encoding
	m.Payload = Payload{Data: frame[start : at+len(data) : at+len(data)], Binary: true}
	m.Event, m.EventIsString = broadcastBytes, true
	return true
}

// broadcastBytes is the event of decoded messages of kind 3. It is never modified.
var broadcastBytes = []byte(broadcastEvent)
