package natsstream

import (
	"encoding/base64"
	"strings"
)

// subjectOf returns the subject of a topic, or that of all topics of a space if topic is
// "". Tokens of a subject must not be empty and have no dots, spaces and wildcards, so names
// are encoded behind a letter.
func (s *Stream) subjectOf(space, topic string) string {
	subject := s.options.Prefix + ".s" + base64.RawURLEncoding.EncodeToString([]byte(space))
	if topic == "" {
		return subject + ".*"
	}
	return subject + ".t" + base64.RawURLEncoding.EncodeToString([]byte(topic))
}

// namesIn returns the space and the topic of a subject.
func (s *Stream) namesIn(subject string) (space, topic string, ok bool) {
	rest, ok := strings.CutPrefix(subject, s.options.Prefix+".s")
	first, second, dot := strings.Cut(rest, ".t")
	one, err := base64.RawURLEncoding.DecodeString(first)
	two, err2 := base64.RawURLEncoding.DecodeString(second)
	return string(one), string(two), ok && dot && err == nil && err2 == nil && len(two) > 0
}
