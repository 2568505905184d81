package packet

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/mycelium-rt/mycelium/internal/websocket"
)

// Request is the body of a Connect, which takes the place of an HTTP handshake.
type Request struct {
	// Path is the path of the socket. It may have a query.
	Path string `json:"path"`
	// Params are added to the query.
	Params map[string]param `json:"params,omitempty"`
	// Headers are header fields, as a handshake would have them.
	Headers map[string]string `json:"headers,omitempty"`
	// Token is what phoenix.js calls authToken. It is nil if there is none.
	Token *string `json:"token,omitempty"`
}

// param is the value of a parameter. In JSON it is a string, a number or a boolean.
type param string

// UnmarshalJSON implements json.Unmarshaler.
func (p *param) UnmarshalJSON(text []byte) error {
	switch text[0] {
	case '"':
		return json.Unmarshal(text, (*string)(p))
	case '{', '[', 'n':
		return errParam
	}
	*p = param(text)
	return nil
}

var errParam = errors.New("a param is not a string, number or boolean")

// form says what a Request is.
const form = `a connect is a JSON object with "path" (a string) and, if needed, "params" (an object of strings, numbers and booleans), "headers" (an object of strings) and "token" (a string)`

// malformed is the error for a body that is not a Request.
func malformed(what string) error {
	return &websocket.HandshakeError{Status: http.StatusBadRequest, Reason: what + "; " + form}
}

// maxShown bounds what a reason has of a key that the client has made up, in bytes.
const maxShown = 40

// versionParam is the parameter for the version of the Phoenix protocol. Without it,
// a WebSocket client means version 1; raw TCP has no such old clients, so its default is 2.
const versionParam, defaultVersion = "vsn", "2.0.0"

// Parse reads the body of a Connect. The error is a *websocket.HandshakeError.
func (r *Request) Parse(body []byte) error {
	var fields map[string]json.RawMessage
	switch {
	case !utf8.Valid(body):
		return malformed("the connect is not UTF-8")
	case json.Unmarshal(body, &fields) != nil:
		return malformed("the connect is not a JSON object")
	}
	for name, value := range fields {
		if err := r.parseField(name, value); err != nil {
			return err
		}
	}
	if r.Path == "" {
		return malformed(`"path" is missing or empty`)
	}
	return nil
}

// parseField reads one field. Names count as they are written: encoding/json would accept
// them in upper case, too.
func (r *Request) parseField(name string, value []byte) error {
	var into any
	switch name {
	case "path":
		into = &r.Path
	case "params":
		into = &r.Params
	case "headers":
		into = &r.Headers
	case "token":
		into = &r.Token
	default:
		return malformed(fmt.Sprintf("unknown key %q", name[:min(len(name), maxShown)]))
	}
	if json.Unmarshal(value, into) != nil {
		return malformed(fmt.Sprintf("wrong value of %q", name))
	}
	return nil
}

// Head fills head, which is zero or has been Reset, with the equivalent handshake. The
// error is a *websocket.HandshakeError.
func (r *Request) Head(head *websocket.Request) error { return head.Compose(r.target(), r.Headers) }

// target returns the path with all parameters.
func (r *Request) target() string {
	path, query, _ := strings.Cut(r.Path, "?")
	more := make(url.Values, len(r.Params)+1)
	for name, value := range r.Params {
		more.Set(name, string(value))
	}
	if !more.Has(versionParam) && !names(query, versionParam) {
		more.Set(versionParam, defaultVersion)
	}
	if query != "" && len(more) > 0 {
		query += "&"
	}
	return path + "?" + query + more.Encode()
}

// names reports whether a query has a parameter, which may be nested (name[], name[key]).
func names(query, name string) bool {
	for pair := range strings.SplitSeq(query, "&") {
		have, _, _ := strings.Cut(pair, "=")
		if have, _, _ = strings.Cut(websocket.DecodeQuery(have), "["); have == name {
			return true
		}
	}
	return false
}

// SetHeader sets a header field of a request that is forwarded. It removes fields whose
// names differ only in case.
func (r *Request) SetHeader(name, value string) {
	for other := range r.Headers {
		if strings.EqualFold(other, name) {
			delete(r.Headers, other)
		}
	}
	if r.Headers == nil {
		r.Headers = make(map[string]string, 1)
	}
	r.Headers[name] = value
}

// AppendRequest appends a Connect.
func AppendRequest(dst []byte, r *Request) ([]byte, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return dst, err
	}
	return Append(dst, Connect, body), nil
}

// Faults in the first bytes of a connection.
var (
	ErrNoConnect = &websocket.HandshakeError{
		Status: http.StatusBadRequest,
		Reason: "the first packet must be a connect: a length of 4 bytes, the byte 3, and a JSON object",
	}
	ErrConnectTooLarge = &websocket.HandshakeError{
		Status: http.StatusRequestHeaderFieldsTooLarge,
		Reason: "the connect is larger than this server accepts",
	}
)

// FirstEnd returns the end of the Connect that data begins with, or 0 if it is not complete
// yet. most bounds its body in bytes. The error is ErrNoConnect or ErrConnectTooLarge.
func FirstEnd(data []byte, most int) (int, error) {
	var header [HeaderSize]byte
	have := copy(header[:], data)
	n := int(header[0])<<24 | int(header[1])<<16 | int(header[2])<<8 | int(header[3])
	switch {
	case header[0] != 0:
		return 0, ErrNoConnect // not a length; most likely another protocol
	case have >= LengthSize && n == 0, have == HeaderSize && Type(header[LengthSize]) != Connect:
		return 0, ErrNoConnect
	case have >= LengthSize && n-1 > most:
		return 0, ErrConnectTooLarge
	case have < HeaderSize || len(data) < LengthSize+n:
		return 0, nil
	}
	return LengthSize + n, nil
}
