package logging

import (
	"bytes"
	"encoding/json"
	"io"
	"regexp"
)

var (
	jsonString    = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	secretKey     = regexp.MustCompile(secretName + `"$`)
	hiddenLiteral = []byte(`"` + hidden + `"`)
)

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
	depth, hideAt, end := 0, -1, 0
	for _, at := range jsonString.FindAllIndex(line, -1) {
		between, literal := line[end:at[0]], line[at[0]:at[1]]
		for _, c := range between {
			switch c {
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			if hideAt > depth || hideAt == depth && c == ',' {
				hideAt = -1
			}
		}
		out = append(out, between...)
		end = at[1]
		isKey := bytes.HasPrefix(bytes.TrimLeft(line[end:], " \t\r\n"), []byte(":"))
		if isKey && hideAt < 0 && secretKey.Match(literal) {
			hideAt = depth
		} else if !isKey && hideAt >= 0 {
			literal = hiddenLiteral
		}
		out = appendScrubbed(out, literal)
	}
	return append(out, line[end:]...)
}

// appendScrubbed appends a string of JSON, as it is if there is nothing to
// hide in it.
func appendScrubbed(out, literal []byte) []byte {
	var text string
	if err := json.Unmarshal(literal, &text); err != nil {
		return append(out, hiddenLiteral...)
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
