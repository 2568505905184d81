package longpoll

import (
	"bytes"
	"encoding/base64"
	"errors"
	"mime"
)

// Errors of [ParseBody].
var (
	// ErrBase64: a line is neither JSON nor base64. HTTP 400.
	ErrBase64 = errors.New("longpoll: a line is neither a JSON array or object nor base64")
	// ErrTooLarge: a message is larger than allowed, or there are more than
	// MaxBatch. HTTP 413.
	ErrTooLarge = errors.New("longpoll: a message is too large, or there are too many")
)

// MaxBatch is how many messages one body may have. phoenix.js sends up to 100
// (assets/js/phoenix/constants.js, MAX_LONGPOLL_BATCH_SIZE), and Phoenix
// silently drops the rest. The bound exists because a decoded message takes ten
// times the bytes of the smallest line.
const MaxBatch = 10_000

// batchType is the media type of a body with several messages.
const batchType = "application/x-ndjson"

// Message is one message from a client.
type Message struct {
	Data   []byte
	Binary bool
}

// ParseBody splits the body of a POST into messages. A body of media type
// application/x-ndjson has one message a line: a line that begins with [ or {
// is text, any other the base64 of a binary message; empty lines are ignored.
// Any other body is one text message. A decoded message may have maxMessage
// bytes.
//
// Text messages are parts of body.
func ParseBody(contentType string, body []byte, maxMessage int) ([]Message, error) {
	if !isBatch(contentType) {
		if len(body) > maxMessage {
			return nil, ErrTooLarge
		}
		return []Message{{Data: body}}, nil
	}
	var messages []Message
	for line := range bytes.SplitSeq(body, newline) {
		line = bytes.Trim(line, " \t\r")
		if len(line) == 0 {
			continue
		}
		m, err := parseLine(line)
		switch {
		case err != nil:
			return nil, err
		case len(m.Data) > maxMessage, len(messages) == MaxBatch:
			return nil, ErrTooLarge
		}
		messages = append(messages, m)
	}
	return messages, nil
}

var newline = []byte("\n")

// isBatch compares only the media type and ignores parameters such as a charset
// (RFC 9110 section 8.3.1).
func isBatch(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return media == batchType && (err == nil || errors.Is(err, mime.ErrInvalidMediaParameter))
}

func parseLine(line []byte) (Message, error) {
	if line[0] == '[' || line[0] == '{' {
		return Message{Data: line}, nil
	}
	data := make([]byte, base64.StdEncoding.DecodedLen(len(line)))
	n, err := base64.StdEncoding.Decode(data, line)
	if err != nil {
		return Message{}, ErrBase64
	}
	return Message{Data: data[:n], Binary: true}, nil
}
