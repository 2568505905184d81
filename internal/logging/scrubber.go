package logging

import (
	"bytes"
	"encoding/json"
	"io"
)

const hiddenLiteral = `"` + hidden + `"`

// scrubber is the last writer before the output, so that no call can forget
// it. It gets lines of JSON, scrubs each string in them and hides the strings
// under a secret name whole.
type scrubber struct{ w io.Writer }

func (s scrubber) Write(line []byte) (int, error) {
	if _, err := s.w.Write(scrubLine(line)); err != nil {
		return 0, err
	}
	// The caller asks for its own bytes, not for those that are left.
	return len(line), nil
}

// scrubLine returns a copy of line.
func scrubLine(line []byte) []byte {
	out := make([]byte, 0, len(line))
	// depth counts open brackets; hideAt is the depth of the value to hide,
	// which ends with a comma or bracket at it, or -1.
	depth, hideAt := 0, -1
	for i := 0; i < len(line); i++ {
		c := line[i]
		if c == '"' {
			end := stringEnd(line, i)
			out = appendString(out, line[i:end], isKey(line[end:]), depth, &hideAt)
			i = end - 1
			continue
		}
		switch c {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		if hideAt > depth || hideAt == depth && c == ',' {
			hideAt = -1
		}
		out = append(out, c)
	}
	return out
}

// stringEnd returns where the string that begins at start is over.
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

// isKey reports whether what follows a string makes it a key.
func isKey(rest []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(rest, " \t\r\n"), []byte(":"))
}

// appendString appends a string of JSON, as it is if there is nothing to hide.
// A key with a secret name sets hideAt.
func appendString(out, literal []byte, key bool, depth int, hideAt *int) []byte {
	if !key && *hideAt >= 0 {
		return append(out, hiddenLiteral...)
	}
	text, ok := unquote(literal)
	if !ok {
		return append(out, hiddenLiteral...)
	}
	if key && *hideAt < 0 && isSecretName(text) {
		*hideAt = depth
	}
	scrubbed := Scrub(text)
	if scrubbed == text {
		return append(out, literal...)
	}
	quoted, err := json.Marshal(scrubbed)
	if err != nil {
		return append(out, hiddenLiteral...)
	}
	return append(out, quoted...)
}

func unquote(literal []byte) (string, bool) {
	if len(literal) >= 2 && bytes.IndexByte(literal, '\\') < 0 {
		return string(literal[1 : len(literal)-1]), true
	}
	var text string
	err := json.Unmarshal(literal, &text)
	return text, err == nil
}
