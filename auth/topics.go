package auth

import (
	"errors"
	"strings"
)

// maxPatterns bounds the topic patterns of one claim: each event of a client is
// held against them.
const maxPatterns = 128

// topics are the topics that patterns match.
type topics []topicPattern

// topicPattern is a topic, or what topics begin with.
type topicPattern struct {
	text   string
	prefix bool
}

// match costs a comparison a pattern and no allocation.
func (t topics) match(topic string) bool {
	for i := range t {
		if p := &t[i]; topic == p.text || p.prefix && strings.HasPrefix(topic, p.text) {
			return true
		}
	}
	return false
}

// texts are the patterns as they are written.
func (t topics) texts() []string {
	list := make([]string, len(t))
	for i, p := range t {
		list[i] = p.text
		if p.prefix {
			list[i] += "*"
		}
	}
	return list
}

// patternTemplate is a pattern with claims in it. Only a * of the pattern itself
// stands for more topics: the value of a claim may be what a user has chosen.
type patternTemplate struct {
	template
	prefix bool
}

func parsePattern(s string) (p patternTemplate, err error) {
	s, p.prefix = strings.CutSuffix(s, "*")
	if s == "" && !p.prefix {
		return p, errors.New("is an empty pattern")
	}
	if p.template, err = parseTemplate(s); err != nil {
		return p, err
	}
	for _, part := range p.template {
		if strings.Contains(part.text, "*") {
			return p, errors.New("has a * that is not at the end")
		}
	}
	return p, nil
}

// rule says to which topics something applies: by patterns that are the same
// for all tokens, by patterns with claims in them, and by a claim that has
// patterns itself.
type rule struct {
	fixed   topics
	dynamic []patternTemplate
	claim   string
}

func newRule(patterns []string, claim string) (rule, error) {
	r := rule{claim: claim}
	for _, s := range patterns {
		p, err := parsePattern(s)
		if err != nil {
			return r, err
		}
		if p.fixed() {
			text, _ := p.expand(nil)
			r.fixed = append(r.fixed, topicPattern{text, p.prefix})
		} else {
			r.dynamic = append(r.dynamic, p)
		}
	}
	return r, nil
}

// topics are those that a token adds to r.fixed. A pattern with a claim that the
// token has not adds nothing.
func (r *rule) topics(c Claims) (all topics, _ *RefusedError) {
	patterns := r.dynamic
	listed, ref := c.list(r.claim)
	if ref != nil {
		return nil, ref
	}
	for _, s := range listed {
		p, err := parsePattern(s)
		if err != nil {
			return nil, refused(Malformed, "claim "+r.claim+": a pattern "+err.Error())
		}
		patterns = append(patterns[:len(patterns):len(patterns)], p)
	}
	for _, p := range patterns {
		if text, missing := p.expand(c); missing == "" {
			all = append(all, topicPattern{text, p.prefix})
		}
	}
	return all, nil
}
