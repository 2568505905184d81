package wire

import "unicode/utf8"

// The first byte of a binary frame. Clients send pushes only; a push of the server has no ref.
const (
	kindPush      = 0
	kindReply     = 1
	kindBroadcast = 2

	// kindUserBroadcast is not Phoenix's: realtime-js sends its broadcasts so
	// (src/lib/serializer.ts, userBroadcastPush).
	kindUserBroadcast = 3
)

// pushHeader is the kind and the sizes of join_ref, ref, topic and event of a client's push.
const pushHeader = 5

// decodeBinary reads a client's push. Its fields are strings, so a size of 0 is "" and not null. Phoenix takes
// any bytes for strings and crashes when they go into JSON; here topic and join_ref have to be UTF-8. A ref or an
// event that is not makes an event that is no string: the fault of its channel alone.
func decodeBinary(frame []byte, m *Message) error {
	if len(frame) < pushHeader {
		return faultHeader.at(len(frame))
	}
	switch frame[0] {
	case kindPush:
	case kindUserBroadcast:
		return faultUserBroadcast.at(0)
	default:
		return faultKind.at(0)
	}
	var fields [pushHeader - 1][]byte
	at := pushHeader
	for n := range fields {
		end := at + int(frame[1+n])
		if end > len(frame) {
			return faultHeader.at(1 + n)
		}
		fields[n] = frame[at:end:end]
		if n%2 == 0 && !utf8.Valid(fields[n]) { // join_ref and topic
			return faultUTF8.at(at)
		}
		at = end
	}
	m.JoinRef = m.quote(fields[0])
	m.Topic, m.TopicIsString = fields[2], true
	m.TopicJSON = m.quote(fields[2])
	refIsText := utf8.Valid(fields[1])
	if refIsText {
		m.Ref = m.quote(fields[1])
	}
	if refIsText && utf8.Valid(fields[3]) {
		m.Event, m.EventIsString = fields[3], true
	}
	m.Payload = Payload{Data: frame[at:], Binary: true}
	return nil
}

// binaryWriter appends a binary frame: the kind, a byte for the size of each field, the fields, the data.
type binaryWriter struct {
	out   []byte
	start int // where the frame begins in out
	size  int // where the size of the next field goes in out
	long  bool
}

func newBinaryWriter(dst []byte, kind byte, fields int) binaryWriter {
	w := binaryWriter{start: len(dst), size: len(dst) + 1}
	w.out = append(dst, kind, 0, 0, 0, 0)[:len(dst)+1+fields]
	return w
}

// sized notes the size of the field that was appended from the byte at.
func (w *binaryWriter) sized(at int) {
	n := len(w.out) - at
	w.long = w.long || n > maxField
	w.out[w.size] = byte(n)
	w.size++
}

func (w *binaryWriter) text(s string) {
	at := len(w.out)
	w.out = append(w.out, s...)
	w.sized(at)
}

// json writes a string without its quotes, null as nothing and other JSON as it is.
func (w *binaryWriter) json(r Ref) {
	at := len(w.out)
	w.out = r.AppendText(w.out)
	w.sized(at)
}

func (w *binaryWriter) finish(data []byte) ([]byte, error) {
	if w.long {
		return w.out[:w.start], ErrTooLong
	}
	return append(w.out, data...), nil
}

func appendBinaryPush(dst []byte, joinRef Ref, topic, event string, data []byte) ([]byte, error) {
	w := newBinaryWriter(dst, kindPush, 3)
	w.json(joinRef)
	w.text(topic)
	w.text(event)
	return w.finish(data)
}

func appendBinaryReply(dst []byte, joinRef, ref Ref, topicJSON []byte, status string, data []byte) ([]byte, error) {
	w := newBinaryWriter(dst, kindReply, 4)
	w.json(joinRef)
	w.json(ref)
	w.json(topicJSON)
	w.text(status)
	return w.finish(data)
}

func appendBinaryBroadcast(dst []byte, topic, event string, data []byte) ([]byte, error) {
	w := newBinaryWriter(dst, kindBroadcast, 2)
	w.text(topic)
	w.text(event)
	return w.finish(data)
}
