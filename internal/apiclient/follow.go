package apiclient

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// comeBackAfter is the pause before a stream that broke is asked for again.
const comeBackAfter = time.Second

// Follow calls f with the events of an instance until ctx ends or f returns an error. When
// the stream breaks it comes back, with what it has missed. query is that of the API.
func (c *Client) Follow(ctx context.Context, id string, query url.Values, f func(event json.RawMessage) error) error {
	last := query.Get("after")
	for first := true; ; first = false {
		err := c.followOnce(ctx, id, query, &last, f)
		var refused *Error
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &refused) && refused.Status < 500, first && last == query.Get("after") && err != nil, errors.Is(err, errStopped):
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(comeBackAfter):
		}
	}
}

// errStopped is the error of an f that wants no more.
var errStopped = errors.New("stopped")

// followOnce reads one stream to its end.
func (c *Client) followOnce(ctx context.Context, id string, query url.Values, last *string, f func(json.RawMessage) error) error {
	asked := url.Values{}
	for name, values := range query {
		asked[name] = values
	}
	if *last != "" {
		asked.Set("after", *last)
	}
	request, err := c.request(ctx, Request{Method: http.MethodGet, Path: Instance(id, "events"), Query: asked})
	if err != nil {
		return err
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return c.noAnswer(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
		if err != nil {
			return fmt.Errorf("the answer is incomplete: %w", err)
		}
		return c.problem(answer, body)
	}
	lines := bufio.NewReader(answer.Body)
	event := ""
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return nil //nolint:nilerr // the stream has ended; it is asked for again
		}
		name, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		switch value = strings.TrimPrefix(value, " "); name {
		case "id":
			event = value
		case "data":
			if err := f(json.RawMessage(value)); err != nil {
				return fmt.Errorf("%w: %w", errStopped, err)
			}
			*last = event
		}
	}
}
