package logging

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// hidden marks where something was left out.
const hidden = "…"

// secretNames are the ends of names, in lower case, whose values are secret.
var secretNames = []string{"token", "authorization", "password", "secret", "secret_key_base", "api_key", "api-key", "apikey", "cookie"}

// secretName matches one of secretNames.
var secretName = `(?i:` + strings.Join(secretNames, "|") + `)`

// secrets match text that must not be logged, with its replacement. If the end
// of a secret is not certain, the match extends to the end of the line.
var secrets = []struct {
	// hints are words in lower case, one of which every match contains. Most
	// log lines contain none; without hints a line takes ten times as long.
	hints   []string
	pattern *regexp.Regexp
	instead string
}{
	// A query, up to the next space. Errors of net/url and net/http repeat
	// the URL, and phoenix.js sends the connect params in it
	// (assets/js/phoenix/socket.js, endPointURL).
	{[]string{"?", "%3f"}, regexp.MustCompile(`(?:\?|%3[fF])\S+`), "?" + hidden},
	// User and password of a URL.
	{[]string{"://"}, regexp.MustCompile(`://[^\s/@]+@`), "://" + hidden + "@"},
	// The subprotocol in which phoenix.js sends its auth token.
	{[]string{".phx."}, regexp.MustCompile(`(base64url\.bearer\.phx\.)\S+`), "${1}" + hidden},
	{[]string{"bearer"}, regexp.MustCompile(`((?i:\bbearer)(?:\s|%20|\+|:)+)\S+`), "${1}" + hidden},
	// Tokens that are known by their form: JWT and Phoenix.Token, whole or cut.
	{[]string{"eyj", "sfm"}, regexp.MustCompile(`\b(?:eyJ|SFMyNTY|SFMzODQ|SFM1MTI)[\w-]*\.[\w-]+(?:\.[\w-]*)?`), hidden},
	// Headers: they may have several words.
	{[]string{"authorization", "cookie"}, regexp.MustCompile(`((?i:authorization|cookie)\s*[=:]\s*)[^\n]+`), "${1}" + hidden},
	// Values in quotes or brackets, as in JSON, %q and Go's maps.
	{secretNames, regexp.MustCompile(`(` + secretName + `\\*["']?\s*[=:]\s*\\*["'\[{])[^\n]+`), "${1}" + hidden},
	{secretNames, regexp.MustCompile(`(` + secretName + `\s*[=:]\s*)\S+`), "${1}" + hidden},
}

// Scrub returns text without the queries of URLs, and without anything that has
// the name or form of a token or password. If in doubt it hides too much.
func Scrub(text string) string {
	lower := strings.ToLower(text)
	for _, s := range secrets {
		if slices.ContainsFunc(s.hints, func(hint string) bool { return strings.Contains(lower, hint) }) {
			text = s.pattern.ReplaceAllString(text, s.instead)
		}
	}
	return text
}

// isSecretName reports whether a value of this name must be hidden.
func isSecretName(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(secretNames, func(end string) bool { return strings.HasSuffix(name, end) })
}

// maxPath is how many bytes of a path are logged: a client chooses them.
const maxPath = 200

// Path returns the path of a URL or request target for a log line: without
// scheme, host, user, query and fragment, even if their marks are escaped, and
// at most maxPath bytes. It never fails; text that is not a URL is cut in the
// same way.
func Path(u string) string {
	u = beforeMark(u)
	if _, rest, ok := strings.Cut(u, "://"); ok {
		slash := strings.IndexByte(rest, '/')
		if slash < 0 {
			return "/"
		}
		u = rest[slash:]
	}
	// Marks may be escaped, and more than once.
	for strings.Contains(u, "%") {
		plain, err := url.PathUnescape(u)
		if err != nil {
			break
		}
		u = plain
	}
	u = beforeMark(u)
	if len(u) > maxPath {
		u = strings.ToValidUTF8(u[:maxPath], "") + hidden
	}
	return Scrub(u)
}

func beforeMark(u string) string {
	if i := strings.IndexAny(u, "?#;&"); i >= 0 {
		return u[:i]
	}
	return u
}
