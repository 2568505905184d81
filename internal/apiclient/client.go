// Package apiclient is the client of the HTTP API that "mycelium instances"
// and "mycelium hooks" use.
package apiclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Client is a server and the key for it.
type Client struct {
	base string
	key  string
	http *http.Client
}

// New returns a client of the server at an address like
// "http://localhost:4000". An empty key is not sent.
func New(server, key string) (*Client, error) {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is not the address of a server: write it like http://localhost:4000", server)
	}
	return &Client{base: strings.TrimSuffix(u.Scheme+"://"+u.Host+u.Path, "/") + "/api", key: key, http: &http.Client{}}, nil
}

// Close closes the client's idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Error is an answer that is a problem (RFC 9457).
type Error struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Errors []struct {
		Field  string `json:"field"`
		Reason string `json:"reason"`
	} `json:"errors"`
}

func (e *Error) Error() string {
	if len(e.Errors) == 0 {
		return e.Title + ": " + e.Detail
	}
	var b strings.Builder
	b.WriteString(e.Title + ":")
	for _, field := range e.Errors {
		b.WriteString("\n  " + field.Field + " " + field.Reason)
	}
	return b.String()
}

// Request is one call. Path is below /api: "/instances/a".
type Request struct {
	Method string
	Path   string
	Query  url.Values
	Body   any // encoded as JSON; json.RawMessage for what is JSON already; nil: none
	// IfMatch is the revision that a change is meant for; "*" means any; ""
	// sends none.
	IfMatch string
	// IdempotencyKey makes repeated broadcasts count as one.
	IdempotencyKey string
}

// maxAnswer bounds an answer in bytes; it holds a page of a thousand instances
// with the largest configurations.
const maxAnswer = 128 << 20

// Do sends a request and returns the body of the answer, nil if it has none. A
// problem is returned as an [*Error].
func (c *Client) Do(ctx context.Context, r Request) (json.RawMessage, error) {
	request, err := c.request(ctx, r)
	if err != nil {
		return nil, err
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return nil, c.noAnswer(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("the answer is incomplete: %w", err)
	}
	if answer.StatusCode < 300 {
		return body, nil
	}
	return nil, c.problem(answer, body)
}

func (c *Client) noAnswer(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // the user knows the URL
	}
	return fmt.Errorf("no answer from %s: %w", strings.TrimSuffix(c.base, "/api"), err)
}

// problem returns the error of an answer that is not a success.
func (c *Client) problem(answer *http.Response, body []byte) error {
	problem := &Error{Status: answer.StatusCode}
	if json.Unmarshal(body, problem) != nil || problem.Title == "" {
		return fmt.Errorf("%s answered %s: is it a mycelium server with an API?", strings.TrimSuffix(c.base, "/api"), answer.Status)
	}
	return problem
}

func (c *Client) request(ctx context.Context, r Request) (*http.Request, error) {
	var body io.Reader
	if r.Body != nil {
		text, err := json.Marshal(r.Body)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	target := c.base + r.Path
	if len(r.Query) > 0 {
		target += "?" + r.Query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, r.Method, target, body)
	if err != nil {
		return nil, err
	}
	for name, value := range map[string]string{"If-Match": r.IfMatch, "Idempotency-Key": r.IdempotencyKey} {
		if value != "" {
			request.Header.Set(name, value)
		}
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if c.key != "" {
		request.Header.Set("Authorization", "Bearer "+c.key)
	}
	return request, nil
}

// Instance returns the path of an instance, or of a part of it.
func Instance(id string, of ...string) string {
	path := "/instances/" + url.PathEscape(id)
	for _, part := range of {
		path += "/" + url.PathEscape(part)
	}
	return path
}

// List calls f for all instances that match a filter (type, state, label), page
// by page.
func (c *Client) List(ctx context.Context, filter url.Values, f func(instance json.RawMessage) error) error {
	query := url.Values{"limit": {"1000"}}
	for name, values := range filter {
		query[name] = values
	}
	for {
		body, err := c.Do(ctx, Request{Method: http.MethodGet, Path: "/instances", Query: query})
		if err != nil {
			return err
		}
		var page struct {
			Instances []json.RawMessage `json:"instances"`
			Next      string            `json:"next"`
		}
		if err := json.Unmarshal(body, &page); err != nil {
			return fmt.Errorf("the answer is not as expected: %w", err)
		}
		for _, i := range page.Instances {
			if err := f(i); err != nil {
				return err
			}
		}
		if page.Next == "" {
			return nil
		}
		query.Set("after", page.Next)
	}
}
