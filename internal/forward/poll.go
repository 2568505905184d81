package forward

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"time"
)

// The messages in a poll's answer must not be lost. So the node that relays the answer
// confirms to the other one that the client was given all of it: the request has a body
// of one byte, which is sent only once the answer is written. If the connection ends
// without that byte, the other node keeps the messages.
//
// The client of net/http cannot do that: it waits for the end of a request's body before
// it reports that a connection has failed.
const (
	// receiptField announces the byte in a request. In the answer it is the size of the
	// body, which has no Content-Length, because it only ends when the byte has come.
	receiptField = "X-Mycelium-Receipt"
	taken        = '1'
)

// writeTimeout is how long a client has to read the answer to a poll.
const writeTimeout = 60 * time.Second

// ownFields are the fields of a client's request that concern only its own connection and body.
var ownFields = []string{"Connection", "Content-Length", "Expect", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

// RelayPoll answers a GET as [Elsewhere.Relay] does, and confirms answers that ask
// for it. If the node cannot be asked, failed answers the request.
func (e *Elsewhere) RelayPoll(w http.ResponseWriter, r *http.Request, c Claim, failed func(error)) {
	e.node.counters.requests.Add(1)
	head := e.pollHead(r, c)
	conn, answer, err := e.ask(r, head) //nolint:bodyclose // it ends with the connection
	if err != nil {
		e.fail(r, err, failed)
		return
	}
	ended := false
	defer func() {
		if !ended {
			conn.Close()
		}
	}()
	if err := passAnswer(w, r, answer); err != nil {
		panic(http.ErrAbortHandler) // the client must see that its answer is cut short
	}
	if answer.Header.Get(receiptField) != "" && conn.confirm(answer.Body) {
		ended = true
		e.node.polls.put(conn)
	}
}

// pollHead returns the head of the request to the node.
func (e *Elsewhere) pollHead(r *http.Request, c Claim) []byte {
	h := r.Header.Clone()
	for _, name := range ownFields {
		delete(h, name)
	}
	h.Set(receiptField, "1")
	h.Set("Content-Length", "1")
	h.Set(Field, e.node.sign(c))
	return AppendHead(nil, r, h)
}

// AppendHead appends the head of r, with the fields h in place of its own.
func AppendHead(b []byte, r *http.Request, h http.Header) []byte {
	out := bytes.NewBuffer(b)
	fmt.Fprintf(out, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.Method, cmp.Or(r.RequestURI, r.URL.RequestURI()), r.Host)
	h.Write(out) //nolint:errcheck // it is in memory
	out.WriteString("\r\n")
	return out.Bytes()
}

// ask sends the head, and returns the answer, whose body is still to be read. A kept
// connection may have been closed meanwhile; then ask uses a new one. It gives up when
// the client goes.
func (e *Elsewhere) ask(r *http.Request, head []byte) (*pollConn, *http.Response, error) {
	if conn := e.node.polls.get(e.address); conn != nil {
		answer, err := conn.ask(r, head)
		if err == nil || r.Context().Err() != nil {
			return conn, answer, err
		}
	}
	nc, err := e.node.dial(r.Context(), e.address)
	if err != nil {
		return nil, nil, err
	}
	conn := &pollConn{Conn: nc, address: e.address, reader: bufio.NewReaderSize(nc, bufferSize)}
	answer, err := conn.ask(r, head)
	return conn, answer, err
}

var errShort = errors.New("forward: the node's answer ends early, or the client has gone")

// passAnswer writes an answer and returns nil if the client's connection has taken all
// of it.
func passAnswer(w http.ResponseWriter, r *http.Request, answer *http.Response) error {
	h := w.Header()
	takePlace(h, answer.Header)
	maps.Copy(h, answer.Header)
	delete(h, "Connection")
	control := http.NewResponseController(w)
	size := answer.ContentLength
	if text := answer.Header.Get(receiptField); text != "" {
		delete(h, receiptField)
		var err error
		if size, err = strconv.ParseInt(text, 10, 64); err != nil || size < 0 {
			return errShort
		}
		h.Set("Content-Length", text)
		control.SetWriteDeadline(time.Now().Add(writeTimeout)) //nolint:errcheck // not every server has deadlines
		defer control.SetWriteDeadline(time.Time{})            //nolint:errcheck // as above
	}
	if r.Context().Err() != nil {
		return errShort
	}
	w.WriteHeader(answer.StatusCode)
	var err error
	if size >= 0 {
		_, err = io.CopyN(w, answer.Body, size)
	} else {
		_, err = io.Copy(w, answer.Body)
	}
	if err != nil {
		return err
	}
	if err := control.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}
