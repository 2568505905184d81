package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/mycelium-rt/mycelium/units"
)

// kind is a type of values.
type kind struct {
	// word stands for a value in the help text.
	word string
	// takes describes the valid values.
	takes string
	// list kinds take any number of words, the others exactly one.
	list bool
	// most is the largest value of a number or a size.
	most int
	// parse returns the value for the field of Config, or what is wrong with the
	// words. That follows them in a sentence: "is not a number".
	parse func(words []string) (value any, wrong string)
}

// text is any string for which check returns "", or any string if check is nil.
func text(word, takes string, check func(string) string) kind {
	return kind{word: word, takes: takes, parse: func(words []string) (any, string) {
		if check == nil {
			return words[0], ""
		}
		return words[0], check(words[0])
	}}
}

// list is a list of at least least strings for each of which check returns "".
func list(word, takes string, least int, check func(string) string) kind {
	return kind{word: word, takes: takes, list: true, parse: func(words []string) (any, string) {
		if len(words) < least {
			return nil, "is empty"
		}
		for _, w := range words {
			if wrong := check(w); wrong != "" {
				return nil, within(words, w, wrong)
			}
		}
		return words, ""
	}}
}

// within says which of several words is the wrong one.
func within(words []string, word, wrong string) string {
	if len(words) == 1 {
		return wrong
	}
	return fmt.Sprintf("has %s, which %s", shown(word), wrong)
}

func number(least, most int) kind {
	takes := fmt.Sprintf("a whole number from %d to %d", least, most)
	return kind{word: "NUMBER", takes: takes, most: most, parse: func(words []string) (any, string) {
		n, err := strconv.Atoi(words[0])
		if err != nil {
			return nil, "is not a whole number"
		}
		return n, outside(n, least, most)
	}}
}

// sizeWord stands for a size in the help text.
const sizeWord = "SIZE"

func size(least, most int) kind {
	takes := fmt.Sprintf("a size from %s to %s: bytes, or a number with KB, MB, GB, KiB, MiB or GiB", units.Bytes(least), units.Bytes(most))
	return kind{word: sizeWord, takes: takes, most: most, parse: func(words []string) (any, string) {
		n, err := units.ParseBytes(words[0])
		switch {
		case errors.Is(err, strconv.ErrRange):
			return nil, "is too large"
		case err != nil:
			return nil, "is not a size"
		}
		return int(n), outside(int(n), least, most)
	}}
}

// durationWord stands for a duration in the help text.
const durationWord = "DURATION"

func duration(least, most time.Duration) kind {
	takes := fmt.Sprintf("a duration from %s to %s, with its unit: ms, s, m or h", units.Duration(least), units.Duration(most))
	return kind{word: durationWord, takes: takes, parse: func(words []string) (any, string) {
		if _, err := strconv.ParseFloat(words[0], 64); err == nil && words[0] != "0" {
			return nil, "has no unit"
		}
		d, err := time.ParseDuration(words[0])
		if err != nil {
			return nil, "is not a duration"
		}
		return d, outside(d, least, most)
	}}
}

func outside[T int | time.Duration](v, least, most T) string {
	switch {
	case v < least:
		return "is too small"
	case v > most:
		return "is too large"
	}
	return ""
}

func oneOf(values ...string) kind {
	takes := "one of " + strings.Join(values, ", ")
	return kind{word: strings.Join(values, "|"), takes: takes, parse: func(words []string) (any, string) {
		for _, v := range values {
			if words[0] == v {
				return v, ""
			}
		}
		return nil, "is not valid"
	}}
}

var boolean = kind{word: "BOOL", takes: "true or false", parse: func(words []string) (any, string) {
	b, err := strconv.ParseBool(words[0])
	if err != nil {
		return nil, "is neither true nor false"
	}
	return b, ""
}}
