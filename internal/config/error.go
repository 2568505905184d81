package config

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Error has everything that is wrong with a configuration.
type Error struct {
	// Problems are sentences, each with what would be right. They never contain
	// the value of a secret, of an unknown flag or of an unknown variable.
	Problems []string
	// Partial, if not nil, is the configuration without the wrong values, so that
	// the caller can check the rest.
	Partial *Config
}

// Error returns the problems, one a line.
func (e *Error) Error() string { return strings.Join(e.Problems, "\n") }

// badValue returns the problem of words that are not a value of o.
func badValue(o *option, words []string, origin, wrong string) string {
	return fmt.Sprintf("%s: %s (from %s) %s; it takes %s, for example %s",
		o.key, o.shown(words), origin, wrong, o.kind.takes, o.example)
}

// shown returns a value in the form in which errors print it.
func (o *option) shown(words []string) string {
	if o.secret && strings.Join(words, "") != "" {
		return "the value, which is not shown,"
	}
	return shown(strings.Join(words, ","))
}

// shownRunes is how much of a wrong value is repeated in an error.
const shownRunes = 60

func shown(value string) string {
	value = hidePassword(value)
	if utf8.RuneCountInString(value) > shownRunes {
		return fmt.Sprintf("%q…", string([]rune(value)[:shownRunes]))
	}
	return fmt.Sprintf("%q", value)
}

// userInfo matches the user and password of an address.
var userInfo = regexp.MustCompile(`://[^/@\s]*@`)

// hidePassword hides the user and the password of the addresses in a value.
func hidePassword(value string) string { return userInfo.ReplaceAllString(value, "://***@") }
