// Package wire is the message format of Phoenix Channels: the envelopes of protocol
// versions 1 and 2, as JSON text and as binary frames, and the interface for others.
//
// It is for those who write a dialect of their own ([Dialect], given to a socket as
// channels.SocketOptions.Dialect) and for programs that speak the protocol without
// the channels package. An application that only serves channels does not need it.
//
// The package is pure: bytes come in, bytes go out, and nothing is kept between calls. A message is
// decoded in place, so a payload remains a slice of the message that it arrived in. It is validated,
// because a server that relays broken JSON hands one client's mistake to all others, but it is not parsed.
// Encoders append to a buffer of the caller's.
//
// What is accepted and what is written follows Phoenix 1.8 (lib/phoenix/socket/serializers) and is
// read by assets/js/phoenix/serializer.js and its kin.
package wire

// Serializer decodes the messages of clients that speak one version of a protocol, and encodes the
// messages that they are sent. [V1] and [V2] are Phoenix's. A dialect of its own may embed one of
// them and override what differs: with AppendPush also AppendHead of [Enveloper].
//
// Serializers have no state: every method is safe for concurrent use, does not block and does not panic.
//
// Encoders append one message to dst and return the longer slice; binary reports whether the message is
// binary rather than text. With an error, out is dst, to which nothing was appended. The payload is
// used as it is: text must be valid compact JSON (see [Validate]), as must refs and topicJSON.
// Topics, events and statuses are plain strings, which the serializer quotes.
type Serializer interface {
	// Version is the version that the serializer speaks, for logs: "2.0.0".
	Version() string

	// Decode parses one complete message into m, overwriting all of it. The
	// frame is modified in place and m points into it; see [Message] for how long that is valid.
	// [ErrIgnored] drops the message. Any other error closes the socket with 1011, as in
	// Phoenix; those of V1 and V2 are a *[DecodeError].
	// After an error the contents of the frame and of m are unspecified.
	Decode(frame []byte, binary bool, m *Message) error

	// AppendPush encodes a message from a channel to one socket; its ref is null.
	// V2 takes a payload that is a JSON object or binary ([ErrNotObject]), V1 any
	// JSON but nothing binary ([ErrNotText]). [ErrTooLong]: a binary message cannot carry a field of that size.
	AppendPush(dst []byte, joinRef Ref, topic, event string, p Payload) (out []byte, binary bool, err error)

	// AppendReply encodes the reply to the message that had ref. The topic is given as the JSON it
	// came in ([Message.TopicJSON]), which need not be a string. The payload may be any JSON, or
	// binary in V2 ([ErrNotText], [ErrTooLong]). A reply with a JSON payload always succeeds.
	AppendReply(dst []byte, joinRef, ref Ref, topicJSON []byte, status string, p Payload) (out []byte, binary bool, err error)

	// AppendBroadcast encodes a message to all subscribers of a topic: join_ref and ref are null, so
	// that one message serves them all. Errors are those of AppendPush: the sockets of this
	// serializer do not get the broadcast, all others do.
	AppendBroadcast(dst []byte, topic, event string, p Payload) (out []byte, binary bool, err error)

	// AppendControl encodes phx_close and phx_error, always as text. They carry the join_ref of the
	// channel as join_ref and as ref (null if it joined with null); phoenix.js drops those whose join_ref
	// is not the current one (assets/js/phoenix/channel.js, isMember). The payload must be JSON text.
	AppendControl(dst []byte, joinRef Ref, topic, event string, p Payload) []byte
}

// Enveloper is implemented by serializers whose text pushes are a head, the payload as it is, and a
// tail. A large payload is then sent to many sockets without a copy for each; without Enveloper it is
// copied into AppendPush.
type Enveloper interface {
	// AppendHead appends what precedes the payload, a JSON object, of the push that AppendPush would
	// encode, and returns what follows the payload.
	AppendHead(dst []byte, joinRef Ref, topic, event string) (head []byte, tail string)
}
