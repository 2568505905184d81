package websocket

import (
	"bytes"
	"maps"
	"net/http"
	"net/netip"
	"net/textproto"
	"strconv"
	"strings"

	"github.com/gobwas/httphead"
)

// Request is the head of an HTTP/1.x request. It does not refer to the bytes
// that it was parsed from.
type Request struct {
	// Method is the method as it came; methods are case-sensitive.
	Method string
	// Target is the request target as it came, with its query.
	Target string
	// Path is the percent-decoded path for routing, without empty parts:
	// //socket//%77ebsocket/ is /socket/websocket, as Phoenix sees it. An
	// encoded slash stays %2F, because it is not a separator. It is "*" for
	// OPTIONS * and empty for CONNECT.
	Path string
	// RawQuery is the query as it came, without the question mark.
	RawQuery string
	// Proto is "HTTP/1.0" or "HTTP/1.1".
	Proto string
	// Host is the authority of an absolute target, else the Host header.
	Host string
	// Header holds the fields by canonical name (Sec-Websocket-Key), the values
	// of one name in order, without surrounding white space. All values are
	// substrings of one string.
	Header http.Header
	// ContentLength is the size in bytes of the body that follows the head: 0
	// if there is none, -1 if it is chunked. The caller reads the body.
	ContentLength int64

	values []string // backing array of the slices in Header
}

// HeadEnd returns the index after the blank line that ends the request head in
// b, or -1 if it is not there yet. from is how much of b an earlier call has
// searched, so that a head that comes in many pieces is searched once. HeadEnd
// accepts lines that end in a bare LF, so that ParseRequest can refuse them at
// once instead of a timeout.
func HeadEnd(b []byte, from int) int {
	i := max(0, from-2)
	for {
		lf := bytes.IndexByte(b[i:], '\n')
		if lf < 0 {
			return -1
		}
		i += lf + 1
		switch rest := b[i:]; {
		case len(rest) >= 1 && rest[0] == '\n':
			return i + 1
		case len(rest) >= 2 && rest[0] == '\r' && rest[1] == '\n':
			return i + 2
		}
	}
}

// ParseRequest is [Request.Parse] into a new Request.
func ParseRequest(head []byte) (*Request, error) {
	r := new(Request)
	if err := r.Parse(head); err != nil {
		return nil, err
	}
	return r, nil
}

// Parse parses a whole request head, including its blank line. The caller has
// to limit its size. Parse refuses heads that intermediaries and servers are
// known to read differently (folded lines, bare CR or LF, control characters, a
// space before the colon, contradicting lengths). The error is a
// *HandshakeError. r must be zero or have been Reset.
func (r *Request) Parse(head []byte) error {
	head = bytes.TrimPrefix(head, crlf) // RFC 9112, 2.2: one empty line before is ignored
	line, rest, ok := bytes.Cut(head, crlf)
	if !ok {
		return badRequest("request line does not end in CR LF")
	}
	if err := r.parseRequestLine(line); err != nil {
		return err
	}
	if err := r.parseHeader(rest); err != nil {
		return err
	}
	if err := r.checkHost(); err != nil {
		return err
	}
	return r.checkBody()
}

// FromHTTP converts a request that net/http has read, and checks it like Parse,
// so that an endpoint mounted in another server applies the same rules. The
// caller may change the header's map; its values are shared with r. The error
// is a *HandshakeError.
func FromHTTP(r *http.Request) (*Request, error) {
	path, ok := DecodePath(r.URL.EscapedPath())
	if !ok {
		return nil, badRequest("malformed percent-encoding in the path")
	}
	fields := 1 // Host
	for _, values := range r.Header {
		fields += len(values)
	}
	switch {
	case fields > MaxFields:
		return nil, tooLarge("more than 100 header fields")
	case !validHost(r.Host):
		return nil, badRequest("malformed host")
	}
	header := maps.Clone(r.Header)
	header["Host"] = []string{r.Host}
	return &Request{
		Method: r.Method, Target: r.RequestURI, Path: path, RawQuery: r.URL.RawQuery, Proto: r.Proto, Host: r.Host,
		Header: header, ContentLength: r.ContentLength,
	}, nil
}

// Reset prepares r for another Parse, which reuses its map and slices; strings
// that were taken from it stay valid.
func (r *Request) Reset() {
	clear(r.Header)
	clear(r.values[:cap(r.values)])
	*r = Request{Header: r.Header, values: r.values[:0]}
}

var crlf = []byte("\r\n")

// parseRequestLine reads "GET /path?query HTTP/1.1".
func (r *Request) parseRequestLine(line []byte) error {
	parsed, ok := httphead.ParseRequestLine(line)
	if !ok {
		return badRequest("malformed request line")
	}
	// httphead accepts some other characters as digits, and any number of them.
	proto := line[len(parsed.Method)+1+len(parsed.URI)+1:]
	switch {
	case len(proto) != len("HTTP/1.1") || proto[5] < '0' || proto[5] > '9' || proto[7] < '0' || proto[7] > '9':
		return badRequest("malformed HTTP version")
	case proto[5] != '1':
		return &HandshakeError{Status: http.StatusHTTPVersionNotSupported, Reason: "only HTTP/1.0 and HTTP/1.1 are supported"}
	}
	r.Method = http.MethodGet
	if string(parsed.Method) != http.MethodGet {
		r.Method = string(parsed.Method)
	}
	r.Target = string(parsed.URI) // a string of its own, because parameters may be kept for long
	r.Proto = "HTTP/1.1"          // a higher minor version is read as 1.1 (RFC 9110, 6.2)
	if proto[7] == '0' {
		r.Proto = "HTTP/1.0"
	}
	return r.parseTarget()
}

// parseHeader reads the fields and the blank line. All fields together cost one
// string, one slice and a map.
func (r *Request) parseHeader(head []byte) error {
	rest := string(head)
	most := min(strings.Count(rest, "\r\n"), MaxFields)
	if r.Header == nil {
		r.Header = make(http.Header, most)
	}
	if cap(r.values) < most {
		r.values = make([]string, 0, most)
	}
	values := r.values
	for fields := 0; ; fields++ {
		line, after, ok := strings.Cut(rest, "\r\n")
		if !ok {
			return badRequest("header line does not end in CR LF")
		}
		rest = after
		if line == "" {
			break
		}
		if fields == MaxFields {
			return tooLarge("more than 100 header fields")
		}
		name, value, err := ParseField(line)
		if err != nil {
			return err
		}
		if others := r.Header[name]; others != nil {
			r.Header[name] = append(others, value)
			continue
		}
		values = append(values, value)
		n := len(values)
		r.Header[name] = values[n-1 : n : n] // a repeated field gets a slice of its own
	}
	if rest != "" {
		return badRequest("bytes after the blank line")
	}
	return nil
}

// ParseField reads "Name: value", a line without its end, and returns the
// canonical name. The error is a *HandshakeError.
func ParseField(line string) (name, value string, err error) {
	if line[0] == ' ' || line[0] == '\t' {
		return "", "", badRequest("folded header line")
	}
	for i := range len(line) {
		if c := line[i]; c < ' ' && c != '\t' || c == 0x7f {
			return "", "", badRequest("control character in a header")
		}
	}
	name, value, ok := strings.Cut(line, ":")
	switch {
	case !ok || name == "":
		return "", "", badRequest("malformed header line")
	case strings.HasSuffix(name, " ") || strings.HasSuffix(name, "\t"):
		return "", "", badRequest("white space before the colon of a header")
	}
	for i := range len(name) {
		if !httphead.OctetTypes[name[i]].IsToken() {
			return "", "", badRequest("malformed header line")
		}
	}
	return canonicalName(name), strings.Trim(value, " \t"), nil
}

// canonicalName is textproto's, without an allocation for the names of the
// handshake, which nearly all clients write in another case.
func canonicalName(name string) string {
	switch name {
	case "Sec-WebSocket-Key":
		return "Sec-Websocket-Key"
	case "Sec-WebSocket-Version":
		return "Sec-Websocket-Version"
	case "Sec-WebSocket-Extensions":
		return "Sec-Websocket-Extensions"
	case "Sec-WebSocket-Protocol":
		return "Sec-Websocket-Protocol"
	}
	return textproto.CanonicalMIMEHeaderKey(name)
}

// checkHost requires at most one Host header, exactly one in HTTP/1.1, with a
// host and an optional port (RFC 9112, 3.2). The authority of an absolute
// target must have the same form.
func (r *Request) checkHost() error {
	hosts := r.Header["Host"]
	switch {
	case len(hosts) > 1:
		return badRequest("more than one Host header")
	case len(hosts) == 0 && r.Proto != "HTTP/1.0":
		return badRequest("no Host header")
	case len(hosts) == 1 && !validHost(hosts[0]), !validHost(r.Host):
		return badRequest("malformed host")
	}
	if r.Host == "" && len(hosts) == 1 {
		r.Host = hosts[0]
	}
	return nil
}

// validHost reports whether s is empty, or a host and an optional port as in
// RFC 3986, 3.2.2: a name, an IPv4 address or an IPv6 address in brackets.
func validHost(s string) bool {
	host, port := s, ""
	if end := strings.LastIndexByte(s, ']'); strings.HasPrefix(s, "[") {
		if end < 0 || !validAddress(s[1:end]) {
			return false
		}
		host, port = "", s[end+1:]
	} else if colon := strings.IndexByte(s, ':'); colon >= 0 {
		host, port = s[:colon], s[colon:]
	}
	for i := range len(host) {
		if !isHostByte(host[i]) {
			return false
		}
	}
	if port == "" {
		return true
	}
	return port[0] == ':' && len(port) <= len(":65535") && strings.Trim(port[1:], "0123456789") == ""
}

// validAddress reports whether s may be in the brackets of a host.
func validAddress(s string) bool {
	s = strings.Replace(s, "%25", "%", 1) // RFC 6874: how a zone is written in a URL
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is6()
}

// isHostByte reports whether c is unreserved, a sub-delimiter or part of a
// percent-encoding (RFC 3986, 2.2 and 2.3). Names in other alphabets come as
// punycode.
func isHostByte(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	return strings.IndexByte("-._~%!$&'()*+,;=", c) >= 0
}

// checkBody finds how the body is delimited, and refuses a request that gives
// two answers (RFC 9112, 6.3), because this is how requests are smuggled.
func (r *Request) checkBody() error {
	lengths := r.Header["Content-Length"]
	codings := r.Header["Transfer-Encoding"]
	if r.Method == http.MethodConnect && len(lengths)+len(codings) > 0 {
		return badRequest("CONNECT has no body") // RFC 9110, 9.3.6: its meaning is not defined
	}
	if len(codings) > 0 {
		switch {
		case len(codings) > 1 || !strings.EqualFold(codings[0], "chunked"):
			return &HandshakeError{Status: http.StatusNotImplemented, Reason: "the only Transfer-Encoding is chunked"}
		case len(lengths) > 0:
			return badRequest("Transfer-Encoding and Content-Length")
		case r.Proto == "HTTP/1.0":
			// Its framing is faulty (RFC 9112, 6.1), and net/http would not see
			// the body that we see.
			return badRequest("Transfer-Encoding in HTTP/1.0")
		}
		r.ContentLength = -1
		return nil
	}
	for i, s := range lengths {
		n, err := strconv.ParseUint(s, 10, 63)
		if err != nil || i > 0 && s != lengths[0] {
			return badRequest("malformed or contradicting Content-Length")
		}
		r.ContentLength = int64(n)
	}
	return nil
}
