package logging

import (
	"bytes"
	"encoding/json"
	"io"

	"github.com/rs/zerolog"
)

const hiddenLiteral = `"` + hidden + `"`

// scrubber is the last writer before the output, so that no call can forget it.
// It cuts and scrubs each string in a line of JSON, and hides strings with a
// secret name completely.
type scrubber struct{ w io.Writer }

func (s scrubber) Write(line []byte) (int, error) {
	s.w.Write(scrubLine(line)) //nolint:errcheck // zerolog would report it on standard error, which may block
	return len(line), nil      // of the caller's bytes, not of the scrubbed ones
}

// lineScrubber makes a scrubbed copy of a line.
type lineScrubber struct {
	out    []byte
	depth  int // of open brackets
	hideAt int // depth of the value to hide, which ends with a comma or bracket at that depth; -1: none
	most   int // bytes that strings of the last key may have
}

// scrubLine returns a copy of line.
func scrubLine(line []byte) []byte {
	s := lineScrubber{out: make([]byte, 0, len(line)), hideAt: -1}
	for i := 0; i < len(line); i++ {
		c := line[i]
		if c == '"' {
			end := stringEnd(line, i)
			s.appendString(line[i:end], isKey(line[end:]))
			i = end - 1
			continue
		}
		switch c {
		case '{', '[':
			s.depth++
		case '}', ']':
			s.depth--
		}
		if s.hideAt > s.depth || s.hideAt == s.depth && c == ',' {
			s.hideAt = -1
		}
		s.out = append(s.out, c)
	}
	return s.out
}

// stringEnd returns the end of the string that begins at start.
func stringEnd(line []byte, start int) int {
	for i := start + 1; i < len(line); i++ {
		switch line[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(line)
}

// isKey reports whether rest, which follows a string, makes it a key.
func isKey(rest []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(rest, " \t\r\n"), []byte(":"))
}

// appendString appends a JSON string, unchanged if it is short enough and has
// nothing to hide.
func (s *lineScrubber) appendString(literal []byte, key bool) {
	if !key && s.hideAt >= 0 {
		s.out = append(s.out, hiddenLiteral...)
		return
	}
	text, ok := unquote(literal)
	if !ok {
		s.out = append(s.out, hiddenLiteral...)
		return
	}
	most := s.most
	if key {
		most, s.most = maxValue, mostOf(text)
		if s.hideAt < 0 && isSecretName(text) {
			s.hideAt = s.depth
		}
	}
	scrubbed := Scrub(cutAt(text, most))
	if scrubbed == text {
		s.out = append(s.out, literal...)
		return
	}
	quoted, err := json.Marshal(scrubbed)
	if err != nil {
		quoted = []byte(hiddenLiteral)
	}
	s.out = append(s.out, quoted...)
}

// mostOf returns how many bytes a string of this name may have.
func mostOf(name string) int {
	switch name {
	case zerolog.MessageFieldName, zerolog.ErrorFieldName, stackField, "problems":
		return maxStack
	}
	return maxValue
}

func unquote(literal []byte) (string, bool) {
	if len(literal) >= 2 && bytes.IndexByte(literal, '\\') < 0 {
		return string(literal[1 : len(literal)-1]), true
	}
	var text string
	err := json.Unmarshal(literal, &text)
	return text, err == nil
}
