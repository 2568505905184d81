package logging

import "strings"

// Bounds of a field in a line, in bytes.
const (
	// maxField bounds text that a client chooses: origins, topics, events,
	// reasons.
	maxField = 256
	// maxError bounds errors and the values of panics.
	maxError = 1 << 10
	// maxValue bounds everything else in a server's log, for example from types
	// of instances.
	maxValue = 512
	// maxStack bounds stacks: 4 KiB hold the twenty innermost calls.
	maxStack = 4 << 10
)

// Cut returns text, cut at 256 bytes.
func Cut(text string) string { return cutAt(text, maxField) }

// cutAt cuts text to most bytes and marks the cut. It does not split a
// character.
func cutAt(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + hidden
}
