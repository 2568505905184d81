package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/mycelium-rt/mycelium/internal/apiclient"
)

// post carries out a call that is done once for each --idempotency-key.
func (c *instancesCall) post(path string, body any) error {
	return c.do(apiclient.Request{Method: http.MethodPost, Path: apiclient.Instance(c.args[0], path), Body: body, IdempotencyKey: c.once})
}

func (c *instancesCall) broadcast() error {
	body, err := c.event()
	if err != nil {
		return err
	}
	return c.post("broadcast", body)
}

// event returns the body of a call with the arguments TOPIC EVENT [PAYLOAD].
func (c *instancesCall) event() (map[string]any, error) {
	body := map[string]any{"topic": c.args[1], "event": c.args[2]}
	if len(c.args) > 3 {
		payload, err := jsonArgument("the payload", c.args[3])
		if err != nil {
			return nil, err
		}
		body["payload"] = payload
	}
	return body, nil
}

// broadcasts sends the messages of a file: a list, or what the API takes.
func (c *instancesCall) broadcasts() error {
	if c.file == "" {
		return errors.New("--file is needed: the messages as JSON, a list of {\"topics\", \"event\", \"payload\"}; - for standard input")
	}
	text, err := readFile(c.file)
	if err != nil {
		return err
	}
	var messages []json.RawMessage
	if json.Unmarshal(text, &messages) == nil {
		return c.post("broadcasts", map[string]any{"messages": messages})
	}
	if !json.Valid(text) {
		return fmt.Errorf("%s is not JSON", c.file)
	}
	return c.post("broadcasts", json.RawMessage(text))
}

// target returns the flags that select sockets, by the names of the API.
func (c *instancesCall) target() map[string]string {
	target := make(map[string]string)
	for name, value := range map[string]string{"user": c.user, "socket_id": c.socketID, "socket": c.socket} {
		if value != "" {
			target[name] = value
		}
	}
	return target
}

var errTarget = errors.New("one of --user, --socket-id and --socket is needed")

// addTarget adds the selected sockets to a body.
func (c *instancesCall) addTarget(body map[string]any) error {
	target := c.target()
	if len(target) != 1 {
		return errTarget
	}
	for name, value := range target {
		body[name] = value
	}
	return nil
}

func (c *instancesCall) push() error {
	body, err := c.event()
	if err == nil {
		err = c.addTarget(body)
	}
	if err != nil {
		return err
	}
	return c.post("push", body)
}

// toAudience does something with a topic to the selected sockets.
func (c *instancesCall) toAudience(path string) error {
	body := map[string]any{"topic": c.args[1]}
	if err := c.addTarget(body); err != nil {
		return err
	}
	return c.post(path, body)
}

// disconnect takes the id of sockets as an argument too, as it did before there were
// other ways to select them.
func (c *instancesCall) disconnect() error {
	if len(c.args) > 1 {
		if len(c.target()) > 0 {
			return errTarget
		}
		c.socketID = c.args[1]
	}
	body := map[string]any{}
	if err := c.addTarget(body); err != nil {
		return err
	}
	if c.noReconnect {
		body["reconnect"] = false
	}
	return c.post("disconnect", body)
}

// sockets and users print a page.
func (c *instancesCall) sockets() error {
	query := c.page()
	for name, value := range c.target() {
		query.Set(name, value)
	}
	return c.show(http.MethodGet, apiclient.Instance(c.args[0], "sockets"), query)
}

func (c *instancesCall) users() error {
	return c.show(http.MethodGet, apiclient.Instance(c.args[0], "users"), c.page())
}

func (c *instancesCall) page() url.Values {
	query := url.Values{}
	if c.after != "" {
		query.Set("after", c.after)
	}
	return query
}

func (c *instancesCall) signal() error {
	body := map[string]any{"name": c.args[1]}
	if len(c.args) > 2 {
		data, err := jsonArgument("the data", c.args[2])
		if err != nil {
			return err
		}
		body["data"] = data
	}
	return c.post("signal", body)
}

// revoke revokes a token, or those of a user.
func (c *instancesCall) revoke() error {
	body := make(map[string]string)
	for name, value := range map[string]string{"jti": c.jti, "user": c.user, "issued_before": c.before, "expires": c.until} {
		if value != "" {
			body[name] = value
		}
	}
	return c.post("revocations", body)
}

func (c *instancesCall) revocations() error {
	return c.show(http.MethodGet, apiclient.Instance(c.args[0], "revocations"), c.page())
}
