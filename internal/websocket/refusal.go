package websocket

import (
	"net/http"
	"strconv"
)

// HandshakeError is the reason for refusing a request. It ends the connection.
type HandshakeError struct {
	// Status is the HTTP status to answer with.
	Status int
	// Reason is a sentence for the client's developer. Of what the client sent it has at
	// most the beginning of a name, quoted, so it may go into bodies and logs.
	Reason string
}

// Error returns the status and the reason.
func (e *HandshakeError) Error() string {
	return "websocket: " + strconv.Itoa(e.Status) + " " + e.Reason
}

// Header returns the headers that belong to the refusal, for AppendRefusal:
// the type of Reason as a body, and for 426 what is supported (RFC 6455,
// 4.2.2; RFC 9110, 15.5.22). The caller owns it.
func (e *HandshakeError) Header() http.Header {
	h := http.Header{"Content-Type": {"text/plain; charset=utf-8"}}
	if e.Status == http.StatusUpgradeRequired {
		h.Set("Upgrade", "websocket")
		h.Set("Sec-Websocket-Version", "13")
	}
	return h
}

// refusalOwned are the headers that AppendRefusal writes itself.
var refusalOwned = map[string]bool{
	"Connection":        true,
	"Content-Length":    true,
	"Transfer-Encoding": true,
}

// AppendRefusal appends a complete HTTP/1.1 answer to dst, with Content-Length
// and Connection: close. header may be nil; line breaks in its values become
// spaces. For a HEAD request, body must be empty.
func AppendRefusal(dst []byte, status int, header http.Header, body []byte) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	dst = append(dst, http.StatusText(status)...)
	dst = append(dst, "\r\nConnection: close\r\nContent-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(body)), 10)
	dst = append(dst, "\r\n"...)
	w := appender{dst}
	// Writing to an appender does not fail.
	_ = header.WriteSubset(&w, refusalOwned)
	w.b = append(w.b, "\r\n"...)
	return append(w.b, body...)
}

// appender is an io.Writer to the end of a slice.
type appender struct{ b []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.b = append(a.b, p...)
	return len(p), nil
}

// badRequest returns an error with status 400.
func badRequest(reason string) *HandshakeError {
	return &HandshakeError{Status: http.StatusBadRequest, Reason: reason}
}

// tooLarge returns an error with status 431.
func tooLarge(reason string) *HandshakeError {
	return &HandshakeError{Status: http.StatusRequestHeaderFieldsTooLarge, Reason: reason}
}
