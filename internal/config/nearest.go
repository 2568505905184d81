package config

import "strings"

// nearest returns the option that was meant by a name that is none, nil if
// nothing comes near. Flags, variables and keys of files are all compared in
// the form of flags.
func nearest(name string, among []*option) *option {
	name = strings.Trim(strings.NewReplacer(".", "-", "_", "-").Replace(strings.ToLower(name)), "-")
	var best *option
	// One slip in four letters is still recognised.
	least := 2 + len(name)/4
	for _, o := range among {
		if d := o.distance(name); d < least {
			best, least = o, d
		}
	}
	return best
}

// distance is 0 for a word that people use for the option, and for its flag
// without the section.
func (o *option) distance(name string) int {
	flag := o.flag()
	if flag == o.section()+"-"+name {
		return 0
	}
	for _, word := range o.also {
		if word == name {
			return 0
		}
	}
	return editDistance(name, flag)
}

// section is what comes before the dot in the option's key, empty if nothing.
func (o *option) section() string {
	before, _, found := strings.Cut(o.key, ".")
	if !found {
		return ""
	}
	return before
}

// editDistance counts the letters to insert, delete, replace or swap with
// their neighbour to make a of b.
func editDistance(a, b string) int {
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
