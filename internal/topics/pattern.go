// Package topics matches topics against patterns the way Phoenix's channel macro
// does: "room:lobby" is one topic, "room:*" is every topic that begins with
// "room:", "room:" itself included, and "*" is every topic.
package topics

import (
	"errors"
	"strings"
)

// ReservedPrefix begins the topics that belong to the protocol ("phoenix", for
// heartbeats: assets/js/phoenix/socket.js) and to Phoenix's own tools
// ("phoenix:live_reload").
const ReservedPrefix = "phoenix"

// Pattern stands for one topic or for all topics with a prefix. Patterns are
// comparable. The zero Pattern stands for the empty topic.
type Pattern struct {
	text string
	wild bool // text ends with a * that stands for anything
}

// The errors of [Parse]. They follow the name of a pattern in a sentence.
var (
	errEmpty = errors.New("is empty")
	errStar  = errors.New("has a * that is not at the end")
)

// Parse returns the pattern written as text: a topic, or a prefix and a *. The
// error follows the name of the pattern in a sentence: "has a * that is not at
// the end".
func Parse(text string) (Pattern, error) {
	if text == "" {
		return Pattern{}, errEmpty
	}
	p := fromText(text)
	if strings.Contains(p.prefix(), "*") {
		return Pattern{}, errStar
	}
	return p, nil
}

// fromText is Parse for a text that has been checked.
func fromText(text string) Pattern { return Pattern{text, strings.HasSuffix(text, "*")} }

// Exact returns the pattern of one topic, in which a * stands for itself.
func Exact(topic string) Pattern { return Pattern{topic, false} }

// Prefix returns the pattern of the topics that begin with prefix, in which a *
// stands for itself.
func Prefix(prefix string) Pattern { return Pattern{prefix + "*", true} }

// String returns the pattern as it is written.
func (p Pattern) String() string { return p.text }

// Wild reports whether the pattern ends with a * that stands for anything.
func (p Pattern) Wild() bool { return p.wild }

// Match reports whether topic is one of the pattern's. It does not allocate.
func (p Pattern) Match(topic string) bool { return match(p, topic) }

// MatchBytes is Match for a topic in a buffer.
func (p Pattern) MatchBytes(topic []byte) bool { return match(p, topic) }

func match[T string | []byte](p Pattern, topic T) bool {
	prefix := p.prefix()
	return len(topic) >= len(prefix) && string(topic[:len(prefix)]) == prefix && (p.wild || len(topic) == len(prefix))
}

// Rest returns the part of a matching topic that the * stands for; for an exact
// pattern, the topic.
func (p Pattern) Rest(topic string) string {
	if p.wild {
		return topic[len(p.prefix()):]
	}
	return topic
}

// Covers reports whether every topic that matches q matches p as well.
func (p Pattern) Covers(q Pattern) bool {
	if q.wild && !p.wild {
		return false
	}
	return p.Match(q.prefix())
}

// prefix is the text of the pattern without its *.
func (p Pattern) prefix() string {
	if p.wild {
		return p.text[:len(p.text)-1]
	}
	return p.text
}

// MatchAny reports whether topic matches one of patterns, each of which [Parse]
// accepts.
func MatchAny(patterns []string, topic string) bool {
	for _, p := range patterns {
		if fromText(p).Match(topic) {
			return true
		}
	}
	return false
}
