package bench

import "bytes"

// message is a message of version 2 as it stands in its frame: strings without
// their quotes but with their escapes, null as nil. Unlike package wire this
// does not check the JSON, which would cost three times as much and is not
// needed to measure a server.
type message struct {
	joinRef, ref, topic, event []byte
	payload                    []byte // up to the end of the text
}

// parseMessage parses a text, which may be cut off within the payload; ok is
// false if it is not a message.
func parseMessage(text []byte) (m message, ok bool) {
	b := skipSpace(text)
	if len(b) == 0 || b[0] != '[' {
		return m, false
	}
	for _, field := range [...]*[]byte{&m.joinRef, &m.ref, &m.topic, &m.event} {
		if *field, b, ok = element(skipSpace(b[1:])); !ok {
			return m, false
		}
	}
	m.payload = b[1:]
	return m, true
}

// element returns the string, number or null at the start of b, and b from the
// comma after it.
func element(b []byte) (value, rest []byte, ok bool) {
	if len(b) > 0 && b[0] == '"' {
		end := stringEnd(b)
		if end < 0 {
			return nil, nil, false
		}
		value = b[1:end]
		b = skipSpace(b[end+1:])
	} else {
		end := bytes.IndexByte(b, ',')
		if end < 0 {
			return nil, nil, false
		}
		if b[0] != 'n' {
			value = bytes.TrimRight(b[:end], " \t\r\n")
		}
		b = b[end:]
	}
	return value, b, len(b) > 0 && b[0] == ','
}

// stringEnd is where the closing quote is, -1 if nowhere.
func stringEnd(b []byte) int {
	for i := 1; ; i++ {
		next := bytes.IndexByte(b[i:], '"')
		if next < 0 {
			return -1
		}
		i += next
		slashes := 0
		for b[i-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return i
		}
	}
}

func skipSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t' || b[0] == '\r' || b[0] == '\n') {
		b = b[1:]
	}
	return b
}
