package bench

import (
	"bytes"
	"strconv"
)

// mark identifies a publication or a request. It travels as a string, which
// servers pass on as it is whatever they make of keys and numbers:
//
//	"bench":"SENDER.NUMBER.SINCE"
type mark struct {
	sender int    // the publisher's number
	number uint32 // counted by the sender, from 0
	since  int64  // the time that the latency is counted from
}

var markKey = []byte(`"bench":`)

func (m mark) append(dst []byte) []byte {
	dst = strconv.AppendInt(dst, int64(m.sender), 10)
	dst = append(dst, '.')
	dst = strconv.AppendUint(dst, uint64(m.number), 10)
	dst = append(dst, '.')
	return strconv.AppendInt(dst, m.since, 10)
}

// parseMark reads what append wrote, whatever follows it.
func parseMark(b []byte) (m mark, ok bool) {
	sender, b, ok := digits(b)
	if !ok || len(b) == 0 || b[0] != '.' {
		return m, false
	}
	number, b, ok := digits(b[1:])
	if !ok || len(b) == 0 || b[0] != '.' {
		return m, false
	}
	since, _, ok := digits(b[1:])
	return mark{int(sender), uint32(number), since}, ok
}

// findMark looks for the mark in a payload.
func findMark(payload []byte) (mark, bool) {
	at := bytes.Index(payload, markKey)
	if at < 0 {
		return mark{}, false
	}
	b := skipSpace(payload[at+len(markKey):])
	if len(b) == 0 || b[0] != '"' {
		return mark{}, false
	}
	return parseMark(b[1:])
}

func digits(b []byte) (n int64, rest []byte, ok bool) {
	i := 0
	for i < len(b) && '0' <= b[i] && b[i] <= '9' {
		n = n*10 + int64(b[i]-'0')
		i++
	}
	return n, b[i:], i > 0
}
