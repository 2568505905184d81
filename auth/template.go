package auth

import (
	"errors"
	"strings"
)

// template is a text with claims in braces: "users_socket:{sub}".
type template []part

// part is a text, or the name of a claim.
type part struct{ text, claim string }

func parseTemplate(s string) (t template, err error) {
	for s != "" {
		text, rest, found := strings.Cut(s, "{")
		if strings.Contains(text, "}") {
			return nil, errors.New("has a } without a { before it")
		}
		if text != "" {
			t = append(t, part{text: text})
		}
		if !found {
			return t, nil
		}
		claim, rest, found := strings.Cut(rest, "}")
		if !found || claim == "" || strings.Contains(claim, "{") {
			return nil, errors.New("has a { that no name of a claim and } follow")
		}
		t, s = append(t, part{claim: claim}), rest
	}
	return t, nil
}

// fixed reports whether the text is the same for every token.
func (t template) fixed() bool {
	for _, p := range t {
		if p.claim != "" {
			return false
		}
	}
	return true
}

// expand fills in claims. missing is a claim that the token lacks, or that is
// not text.
func (t template) expand(c Claims) (text, missing string) {
	var b strings.Builder
	for _, p := range t {
		b.WriteString(p.text)
		if p.claim == "" {
			continue
		}
		value, ok := c.Text(p.claim)
		if !ok {
			return "", p.claim
		}
		b.WriteString(value)
	}
	return b.String(), ""
}
