package auth

import (
	"slices"
	"strings"

	"github.com/mycelium-rt/mycelium/internal/topics"
)

// maxPatterns bounds the topic patterns of one claim: each event of a client is
// compared with them.
const maxPatterns = 128

// topicList is a list of patterns, any of which may match.
type topicList []topics.Pattern

// match costs one comparison per pattern and no allocation.
func (l topicList) match(topic string) bool {
	return slices.ContainsFunc(l, func(p topics.Pattern) bool { return p.Match(topic) })
}

// texts returns the patterns as text.
func (l topicList) texts() []string {
	list := make([]string, len(l))
	for i, p := range l {
		list[i] = p.String()
	}
	return list
}

// patternTemplate is a pattern with claims in it. Only a * of the pattern
// itself is a wildcard, because a user may have chosen the value of a claim.
type patternTemplate struct {
	template
	wild bool
}

func parsePattern(s string) (p patternTemplate, err error) {
	if _, err := topics.Parse(s); err != nil {
		return p, err
	}
	s, p.wild = strings.CutSuffix(s, "*")
	p.template, err = parseTemplate(s)
	return p, err
}

// fill returns the pattern for a token with claims c; missing is as in expand.
func (p patternTemplate) fill(c Claims) (filled topics.Pattern, missing string) {
	text, missing := p.expand(c)
	if p.wild {
		return topics.Prefix(text), missing
	}
	return topics.Exact(text), missing
}

// rule selects topics by patterns that are the same for all tokens, by patterns
// with claims in them, and by a claim that contains patterns.
type rule struct {
	fixed   topicList
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
			filled, _ := p.fill(nil)
			r.fixed = append(r.fixed, filled)
		} else {
			r.dynamic = append(r.dynamic, p)
		}
	}
	return r, nil
}

// topicsFor returns what a token with claims c adds to r.fixed. A pattern with a
// claim that the token does not have adds nothing.
func (r *rule) topicsFor(c Claims) (all topicList, _ *RefusedError) {
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
		if filled, missing := p.fill(c); missing == "" {
			all = append(all, filled)
		}
	}
	return all, nil
}
