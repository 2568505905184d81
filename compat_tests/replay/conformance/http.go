package conformance

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"sort"
	"strings"
	"time"
)

// httpAnswer is a server's answer to a request.
type httpAnswer struct {
	status int
	reason string
	header http.Header
	body   string
}

// refusalBody is how long to wait for the body of a refused handshake.
const refusalBody = 2 * time.Second

// readAnswer reads the body of a response.
func readAnswer(conn net.Conn, response *http.Response) *httpAnswer {
	a := &httpAnswer{status: response.StatusCode, header: response.Header}
	_, a.reason, _ = strings.Cut(response.Status, " ")
	if a.status == http.StatusSwitchingProtocols {
		return a
	}
	_ = conn.SetReadDeadline(time.Now().Add(refusalBody))
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxServerFrame)) // whatever arrived is compared
	a.body = string(body)
	return a
}

// requestHead collects the lines of a request in order.
type requestHead struct {
	line    string
	headers Headers
}

// apply replaces, adds or removes headers as a step requires.
func (r *requestHead) apply(changes Headers) {
	for _, change := range changes {
		at := -1
		for i, h := range r.headers {
			if strings.EqualFold(h.Name, change.Name) {
				at = i
			}
		}
		switch {
		case at >= 0:
			r.headers[at] = change
		default:
			r.headers = append(r.headers, change)
		}
	}
}

// bytes returns the request with its body, with placeholders replaced by fill.
func (r *requestHead) bytes(body *string, fill func(string) (string, error)) ([]byte, error) {
	text := ""
	if body != nil {
		filled, err := fill(*body)
		if err != nil {
			return nil, err
		}
		text = filled
		r.headers = append(r.headers, Header{Name: "Content-Length", Value: fmt.Sprint(len(text))})
	}
	var head strings.Builder
	head.WriteString(r.line + "\r\n")
	for _, h := range r.headers {
		if !h.Omit {
			head.WriteString(h.Name + ": " + h.Value + "\r\n")
		}
	}
	filled, err := fill(head.String() + "\r\n")
	if err != nil {
		return nil, err
	}
	return append([]byte(filled), text...), nil
}

func target(path, query string) string {
	if query == "" {
		return path
	}
	return path + "?" + query
}

// exchange is an HTTP request on a connection of its own.
type exchange struct {
	session    string // of a poll, "" for other requests
	overlapped bool   // another poll of the session was waiting
	started    time.Time

	done    chan struct{} // closed when the rest is set
	elapsed time.Duration
	answer  *httpAnswer
	err     error
}

// startExchange writes the request and reads the answer in a goroutine, which ends with
// ctx or after limit.
func startExchange(ctx context.Context, addr, method string, request []byte, limit time.Duration) *exchange {
	ex := &exchange{started: time.Now(), done: make(chan struct{})}
	go func() {
		defer close(ex.done)
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		ex.answer, ex.err = roundTrip(ctx, addr, method, request)
		ex.elapsed = time.Since(ex.started)
		if ex.err != nil && ctx.Err() != nil {
			ex.err = fmt.Errorf("no answer after %v: %w", ex.elapsed.Round(time.Millisecond), ex.err)
		}
	}()
	return ex
}

func (ex *exchange) underWay() bool {
	select {
	case <-ex.done:
		return false
	default:
		return true
	}
}

func roundTrip(ctx context.Context, addr, method string, request []byte) (*httpAnswer, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	// A server may refuse a request before it has read all of it.
	_, writeErr := conn.Write(request)
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method}) //nolint:bodyclose // conn is closed
	if err != nil {
		return nil, errors.Join(err, writeErr)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxServerFrame))
	if err != nil {
		return nil, fmt.Errorf("body of the answer: %w", err)
	}
	a := &httpAnswer{status: response.StatusCode, header: response.Header, body: string(body)}
	_, a.reason, _ = strings.Cut(response.Status, " ")
	return a, nil
}

// compareHTTP compares status and headers. It also reports whether the body must be
// compared too.
func compareHTTP(want *Answer, got *httpAnswer) (bool, error) {
	if !want.Status.Has(got.status) {
		return false, fmt.Errorf("expected HTTP status %s\n  received %d %s %s", want.Status, got.status, got.reason, short(got.body))
	}
	if got.status != http.StatusOK {
		return false, nil
	}
	if recorded := want.Headers["content-type"]; recorded != "" {
		if w, g := mediaType(recorded), mediaType(got.header.Get("Content-Type")); w != g {
			return false, fmt.Errorf("expected content-type %s\n  received %q", w, g)
		}
	}
	return want.Body != nil, compareAccessControl(want.Headers, got.header)
}

func mediaType(s string) string {
	media, _, err := mime.ParseMediaType(s)
	if err != nil {
		return s
	}
	return media
}

// compareAccessControl compares the access-control-* headers, as lists in any order and
// case. An empty header is the same as none.
func compareAccessControl(want map[string]string, got http.Header) error {
	names := map[string]string{}
	for name, value := range want {
		names[strings.ToLower(name)] = value
	}
	for name := range got {
		if name = strings.ToLower(name); strings.HasPrefix(name, "access-control-") && names[name] == "" {
			names[name] = ""
		}
	}
	for name, recorded := range names {
		if !strings.HasPrefix(name, "access-control-") {
			continue
		}
		w, g := headerList(recorded), headerList(strings.Join(got.Values(name), ","))
		if w != g {
			return fmt.Errorf("expected %s: %q\n  received %q", name, w, g)
		}
	}
	return nil
}

func headerList(value string) string {
	var list []string
	for _, one := range strings.Split(strings.ToLower(value), ",") {
		if one = strings.TrimSpace(one); one != "" {
			list = append(list, one)
		}
	}
	sort.Strings(list)
	return strings.Join(list, ", ")
}
