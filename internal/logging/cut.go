package logging

import "strings"

// Bounds of a field in a line, in bytes.
const (
	// maxField bounds what a client chooses: origins, topics, events, reasons.
	maxField = 256
	// maxError bounds errors and the values of panics.
	maxError = 1 << 10
	// maxValue bounds whatever else reaches a server's log, from types of instances
	// for example.
	maxValue = 512
	// maxStack bounds stacks: 4 KiB have the twenty innermost calls.
	maxStack = 4 << 10
)

// Cut returns text, cut at 256 bytes.
func Cut(text string) string { return cutAt(text, maxField) }

// cutAt marks a text that it cuts, and leaves no broken character at its end.
func cutAt(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + hidden
}
