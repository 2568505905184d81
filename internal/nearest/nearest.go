// Package nearest finds the known name that is closest to a misspelled one.
package nearest

import (
	"fmt"
	"slices"
	"strings"
)

// Limit returns the distance from which two names count as unrelated: one slip
// in four letters is still recognised.
func Limit(name string) int { return 2 + len(name)/4 }

// Of returns the closest of names, "" if none is close.
func Of(name string, names []string) string {
	best, least := "", Limit(name)
	for _, n := range names {
		if d := Distance(name, n); d < least {
			best, least = n, d
		}
	}
	return best
}

// Distance counts the letters to insert, delete, replace or swap with their
// neighbour to turn b into a.
func Distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// UnknownField returns the reason for an unknown JSON field, given the known
// ones, which are in lower case. It follows the field in a sentence.
func UnknownField(name string, known []string) string {
	if len(known) == 0 {
		return "is not a known field; no fields are allowed"
	}
	if meant := Of(strings.ToLower(name), known); meant != "" {
		return fmt.Sprintf("is not a known field; did you mean %q?", meant)
	}
	return "is not a known field; the known fields are " + strings.Join(slices.Sorted(slices.Values(known)), ", ")
}
