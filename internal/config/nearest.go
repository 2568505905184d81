package config

import (
	"strings"

	closest "github.com/mycelium-rt/mycelium/internal/nearest"
)

// nearest returns the option that an unknown name was probably meant for, or nil.
// Flags, variables and keys of files are all compared in the form of flags.
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

// distance returns how much name differs from the option's flag. It is 0 for the flag
// without its section and for the words in also.
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

// section returns the part of the key before the dot, or "".
func (o *option) section() string {
	before, _, found := strings.Cut(o.key, ".")
	if !found {
		return ""
	}
	return before
}
