package websocket

import (
	"net/http"
	"strings"
	"unicode/utf8"
)

// parseTarget splits the request target (RFC 9112, 3.2) into Path, RawQuery
// and, if it is absolute, Host.
func (r *Request) parseTarget() error {
	for i := range len(r.Target) {
		if c := r.Target[i]; c <= ' ' || c == 0x7f || c == '#' {
			return badRequest("illegal character in the request target")
		}
	}
	path, query, _ := strings.Cut(r.Target, "?")
	r.RawQuery = query
	switch {
	case strings.HasPrefix(path, "/"):
	case r.Method == http.MethodConnect:
		return nil // an authority, no path
	case r.Target == "*" && r.Method == http.MethodOptions:
		r.Path = "*"
		return nil
	default:
		var ok bool
		if path, ok = r.cutAuthority(path); !ok {
			return badRequest("malformed request target")
		}
	}
	decoded, ok := DecodePath(path)
	if !ok {
		return badRequest("malformed percent-encoding in the path")
	}
	r.Path = decoded
	return nil
}

// cutAuthority removes scheme and authority from an absolute target.
func (r *Request) cutAuthority(target string) (path string, ok bool) {
	scheme, rest, ok := strings.Cut(target, "://")
	if !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") &&
		!strings.EqualFold(scheme, "ws") && !strings.EqualFold(scheme, "wss") {
		return "", false
	}
	slash := strings.IndexByte(rest, '/')
	if slash < 0 {
		slash = len(rest)
	}
	r.Host = rest[:slash]
	return rest[slash:], r.Host != ""
}

// DecodePath returns a percent-encoded path in the form of Request.Path:
// decoded and without empty parts, except that encoded slashes stay %2F, so
// that no encoding splits a part in two. ok is false for a malformed escape and
// for an encoded NUL.
func DecodePath(path string) (decoded string, ok bool) {
	if isPlainPath(path) {
		return path, true
	}
	b := make([]byte, 0, len(path)+1)
	b = append(b, '/')
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '/' {
			if b[len(b)-1] != '/' {
				b = append(b, '/')
			}
			continue
		}
		if c == '%' {
			c, ok = percentByte(path[i:])
			if !ok || c == 0 {
				return "", false
			}
			i += 2
			if c == '/' {
				b = append(b, "%2F"...)
				continue
			}
		}
		b = append(b, c)
	}
	if len(b) > 1 && b[len(b)-1] == '/' {
		b = b[:len(b)-1]
	}
	return string(b), true
}

// isPlainPath reports whether a path is its own decoded form, as nearly all
// paths are.
func isPlainPath(path string) bool {
	return strings.HasPrefix(path, "/") && !strings.Contains(path, "//") && !strings.Contains(path, "%") &&
		(len(path) == 1 || !strings.HasSuffix(path, "/"))
}

// percentByte decodes the %XX at the start of s.
func percentByte(s string) (c byte, ok bool) {
	if len(s) < 3 {
		return 0, false
	}
	hi, okHi := hexDigit(s[1])
	lo, okLo := hexDigit(s[2])
	return hi<<4 | lo, okHi && okLo
}

func hexDigit(c byte) (v byte, ok bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// CheckQuery returns a *HandshakeError with status 400 if the query does not
// decode to UTF-8, as Phoenix answers before it calls connect. A percent sign
// that does not begin an escape stands for itself.
func CheckQuery(query string) error {
	var text utf8Checker
	for i := 0; i < len(query); i++ {
		c := query[i]
		if c == '%' {
			if decoded, ok := percentByte(query[i:]); ok {
				c = decoded
				i += 2
			}
		}
		if c < utf8.RuneSelf && text.atBorder() {
			continue
		}
		// No character can span two parameters: the separators are ASCII, which
		// ends any character.
		if !text.step(c) {
			return badRequest("query is not UTF-8")
		}
	}
	if !text.atBorder() {
		return badRequest("query is not UTF-8")
	}
	return nil
}

// DecodeQuery decodes a name or value of a query: a plus sign is a space, and a
// percent sign that does not begin an escape stands for itself.
func DecodeQuery(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch c {
		case '+':
			c = ' '
		case '%':
			if decoded, ok := percentByte(s[i:]); ok {
				c = decoded
				i += 2
			}
		}
		b = append(b, c)
	}
	return string(b)
}
