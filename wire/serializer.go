// Package wire is the message format of Phoenix Channels: the envelopes of protocol
// versions 1 and 2, as JSON text and as binary frames.
//
// It is pure: bytes come in, bytes go out, and nothing is kept between calls. A frame is decoded
// in place, so that a payload stays the slice of the frame it arrived in; it is validated, because a
// server that relays broken JSON hands one client's mistake to all others, but it is not parsed.
// Encoders append to a buffer of the caller's.
//
// What is accepted and what is written follows Phoenix 1.8 (lib/phoenix/socket/serializers) and is
// read by assets/js/phoenix/serializer.js and its kin.
package wire

// Serializer decodes what clients of one protocol version send and encodes what they are sent.
// Serializers have no state: every method is safe for concurrent use.
//
// Encoders append one message to dst and return the longer slice; binary tells whether it has to
// leave in a binary frame. With an error nothing was appended: what is returned is dst. The payload is
// taken as it is: text must be valid compact JSON (see [Validate]), as must refs and topicJSON.
// Topics, events and statuses are plain strings and get quoted here.
type Serializer interface {
	// Version is the protocol version this serializer speaks.
	Version() Version

	// Decode takes the payload of one complete data frame apart into m, overwriting all of it. The
	// frame is modified in place and m points into it; see [Message] for how long that is valid.
	// Every error is a *[DecodeError] and means, as in Phoenix, that the socket is closed with 1011.
	// After an error the contents of the frame and of m are unspecified.
	Decode(frame []byte, binary bool, m *Message) error

	// AppendPush encodes a message from a channel to one socket; its ref is null.
	// Version 2 wants a payload that is a JSON object or binary ([ErrNotObject]), version 1 takes any
	// JSON and nothing binary ([ErrNotText]). [ErrTooLong]: a binary frame cannot carry a field of that size.
	AppendPush(dst []byte, joinRef Ref, topic, event string, p Payload) (out []byte, binary bool, err error)

	// AppendReply encodes the answer to the message that had ref. The topic is given as the JSON it
	// came in ([Message.TopicJSON]), which need not be a string. The payload may be any JSON, or
	// binary in version 2 ([ErrNotText], [ErrTooLong]).
	AppendReply(dst []byte, joinRef, ref Ref, topicJSON []byte, status string, p Payload) (out []byte, binary bool, err error)

	// AppendBroadcast encodes a message to all subscribers of a topic: join_ref and ref are null, so
	// that one frame serves them all. Errors are those of AppendPush.
	AppendBroadcast(dst []byte, topic, event string, p Payload) (out []byte, binary bool, err error)

	// AppendControl encodes phx_close and phx_error, always as text. They carry the join_ref of the
	// channel as join_ref and as ref (null if it joined with null); phoenix.js drops those whose join_ref
	// is not the current one (assets/js/phoenix/channel.js, isMember). The payload must be JSON text.
	AppendControl(dst []byte, joinRef Ref, topic, event string, p Payload) []byte
}

// For is the serializer of a version. An unknown version gets that of [V2]; [ParseVersion] yields none.
func For(v Version) Serializer {
	if v == V1 {
		return v1{}
	}
	return v2{}
}
