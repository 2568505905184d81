package config

import (
	"strings"

	closest "github.com/mycelium-rt/mycelium/internal/nearest"
)

// nearest returns the option that was meant by a name that is none, nil if
// nothing comes near. Flags, variables and keys of files are all compared in
// the form of flags.
func nearest(name string, among []*option) *option {
	name = strings.Trim(strings.NewReplacer(".", "-", "_", "-").Replace(strings.ToLower(name)), "-")
	var best *option
	least := closest.Limit(name)
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
	return closest.Distance(name, flag)
}

// section is what comes before the dot in the option's key, empty if nothing.
func (o *option) section() string {
	before, _, found := strings.Cut(o.key, ".")
	if !found {
		return ""
	}
	return before
}
