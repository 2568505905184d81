package bench

import (
	"encoding/json"
	"strconv"
	"strings"
)

// pattern is a text that was split at its placeholders for a number.
type pattern []string

func newPattern(text string) pattern { return strings.Split(text, placeholder) }

// append appends the text with n in place of each placeholder.
func (p pattern) append(dst []byte, n int) []byte {
	dst = append(dst, p[0]...)
	for _, part := range p[1:] {
		dst = strconv.AppendInt(dst, int64(n), 10)
		dst = append(dst, part...)
	}
	return dst
}

// quoted returns text as the inside of a JSON string. Placeholders stay.
func quoted(text string) string {
	b, _ := json.Marshal(text) // never fails for a string
	return string(b[1 : len(b)-1])
}

func isJSONObject(text []byte) bool {
	var object map[string]json.RawMessage
	return json.Unmarshal(text, &object) == nil && object != nil
}
