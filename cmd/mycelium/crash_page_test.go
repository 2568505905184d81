//go:build unix

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
	"time"
)

// known is what the API says of an instance.
type known struct {
	ID       string            `json:"id"`
	Type     string            `json:"type"`
	Config   map[string]any    `json:"config"`
	Labels   map[string]string `json:"labels"`
	Revision uint64            `json:"revision"`
	State    string            `json:"state"`
	Declared bool              `json:"declared"`
	Created  time.Time         `json:"created"`
}

// same compares two; exactly: one that has not been changed in between.
func (a *known) same(b *known, exactly bool) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.ID == b.ID && a.Type == b.Type && a.State == b.State && reflect.DeepEqual(a.Config, b.Config) &&
		reflect.DeepEqual(a.Labels, b.Labels) && (!exactly || a.Revision == b.Revision && a.Created.Equal(b.Created))
}

// page is what a worker knows of an instance.
type page struct {
	id       string
	now      *known // as it was acknowledged; nil: there is none
	revision uint64 // the highest that was seen, of those before it too
	open     *ask   // was not answered
}

// ask is a request, and what the instance is once it is carried out.
type ask struct {
	kind, method, path, body string
	status                   int
	then                     *known
}

// serial makes every change another.
var serial atomic.Int64

// kinds are types, each with a configuration of one number.
var kinds = map[string]func(n int64) map[string]any{
	"relay":  func(n int64) map[string]any { return map[string]any{"topics": []any{fmt.Sprint("room:", n)}} },
	"chat":   func(n int64) map[string]any { return map[string]any{"backlog_bytes": float64(1000 + n)} },
	"collab": func(n int64) map[string]any { return map[string]any{"max_size": float64(1000 + n)} },
	"game": func(n int64) map[string]any {
		return map[string]any{"rules": "connect4", "clock": "1h", "increment": fmt.Sprint(n, "ms")}
	},
}

// choose picks the next request.
func (p *page) choose() ask {
	n := serial.Add(1)
	label := map[string]string{"n": fmt.Sprint(n)}
	if p.now == nil {
		names := []string{"relay", "chat", "collab", "game"}
		name := names[rand.IntN(len(names))]
		then := &known{ID: p.id, Type: name, Config: kinds[name](n), Labels: label, State: "running"}
		return ask{kind: "create", method: "POST", path: "/api/instances", body: bodyOf(then), status: http.StatusCreated, then: then}
	}
	then, path := *p.now, "/api/instances/"+p.id
	switch rand.IntN(6) {
	case 0:
		return ask{kind: "delete", method: "DELETE", path: path, status: http.StatusNoContent}
	case 1, 2:
		if then.State == "running" {
			then.State = "stopped"
			return ask{kind: "drain", method: "POST", path: path + "/drain", status: http.StatusAccepted, then: &then}
		}
		then.State = "running"
		return ask{kind: "resume", method: "POST", path: path + "/resume", status: http.StatusOK, then: &then}
	case 3:
		then.Config = kinds[then.Type](n)
		return ask{kind: "config", method: "PATCH", path: path, body: jsonOf(map[string]any{"config": then.Config}), status: http.StatusOK, then: &then}
	}
	then.Labels = label
	return ask{kind: "label", method: "PATCH", path: path, body: jsonOf(map[string]any{"labels": label}), status: http.StatusOK, then: &then}
}

// creation is the request that would make the instance as it is.
func (p *page) creation() ask {
	return ask{method: "POST", path: "/api/instances", body: bodyOf(p.now)}
}

func bodyOf(k *known) string {
	return jsonOf(map[string]any{"id": k.ID, "type": k.Type, "config": k.Config, "labels": k.Labels})
}

func jsonOf(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // texts and numbers
	}
	return string(text)
}

// outcome is what came of a request.
type outcome int

const (
	acknowledged outcome = iota
	unanswered           // the server was killed: it may have happened or not
	turnedAway           // the server ends: it has not happened
)

// ask sends a request and writes down what came of it. An error is a fault of
// the server's.
func (p *page) ask(server *process, a ask) (outcome, error) {
	p.open = &a
	got, err := server.do(a, a.status)
	var refused *refusal
	switch {
	case errors.As(err, &refused) && refused.status == http.StatusServiceUnavailable && server.ending.Load():
		p.open = nil
		return turnedAway, nil
	case err != nil && (refused != nil || !server.ending.Load()):
		return unanswered, err
	case err != nil:
		return unanswered, nil
	}
	p.open, p.now = nil, nil
	if a.then == nil {
		return acknowledged, nil
	}
	if a.kind == "drain" || server.ending.Load() { // it is still draining; all are stopped when the server ends
		got.State = a.then.State
	}
	before := p.revision
	p.now, p.revision = got, got.Revision
	if !got.same(a.then, false) || got.Revision <= before {
		return acknowledged, fmt.Errorf("answered %+v; want %+v after revision %d", got, a.then, before)
	}
	return acknowledged, nil
}

// settle decides what was not answered by what the server has after its start.
func (p *page) settle(found *known) error {
	open := p.open
	p.open = nil
	happened := open != nil && found.same(open.then, false) && (found == nil || found.Revision > p.revision)
	if !happened && !found.same(p.now, true) {
		return fmt.Errorf("came back as %+v; acknowledged %+v, not answered %+v", found, p.now, open)
	}
	p.now = found
	if found != nil {
		p.revision = found.Revision
	}
	return nil
}

// refusal is an answer that was not wanted.
type refusal struct {
	status int
	body   string
}

func (r *refusal) Error() string { return fmt.Sprintf("status %d: %s", r.status, r.body) }

// do sends a request; an answer of another status is a refusal.
func (p *process) do(a ask, status int) (*known, error) {
	request, err := http.NewRequest(a.method, "http://"+p.addr+a.path, strings.NewReader(a.body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+p.key)
	if a.body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	if a.method == "PATCH" {
		request.Header.Set("If-Match", "*")
	}
	response, err := p.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != status {
		return nil, &refusal{response.StatusCode, string(body)}
	}
	if len(body) == 0 {
		return nil, nil
	}
	var k known
	return &k, json.Unmarshal(body, &k)
}

// list is all instances by their ids.
func (p *process) list() (map[string]*known, error) {
	request, err := http.NewRequest(http.MethodGet, "http://"+p.addr+"/api/instances?limit=1000", nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+p.key)
	response, err := p.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var all struct {
		Instances []*known `json:"instances"`
	}
	if err := json.NewDecoder(response.Body).Decode(&all); err != nil {
		return nil, err
	}
	by := make(map[string]*known)
	for _, k := range all.Instances {
		by[k.ID] = k
	}
	return by, nil
}
