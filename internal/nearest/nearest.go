// Package nearest finds the name that was meant by one that does not exist.
package nearest

import (
	"fmt"
	"slices"
	"strings"
)

// Limit is the distance from which on two names have nothing to do with each
// other: one slip in four letters is still recognised.
func Limit(name string) int { return 2 + len(name)/4 }

// Of returns the name among names that was meant, empty if none comes near.
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
// neighbour to make a of b.
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

// UnknownField returns what is wrong with a field of JSON called name where there are
// only those called known, which are in lower case. It follows the field in a
// sentence.
func UnknownField(name string, known []string) string {
	if len(known) == 0 {
		return "is not a known field; there are none"
	}
	if meant := Of(strings.ToLower(name), known); meant != "" {
		return fmt.Sprintf("is not a known field; did you mean %q?", meant)
	}
	return "is not a known field; there are " + strings.Join(slices.Sorted(slices.Values(known)), ", ")
}
