package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// historyConfig records the rooms of the default instance, and everything in an
// instance of its own.
const historyConfig = `history:
  memory: 1MiB
  rules:
    - topics: ["room:*"]
      messages: 3
    - topics: [lobby]
      events: [new_msg]
      on_join: 1
instances:
  - id: shop
    type: relay
    history: [{messages: 2, age: 1h, bytes: 64KiB}]
`

// historyPage is an answer of the API.
type historyPage struct {
	Messages []struct {
		ID, Event string
		Payload   json.RawMessage
	}
	Next, Missing string
	More          bool
}

func (p historyPage) String() string {
	var all []string
	for _, m := range p.Messages {
		all = append(all, string(m.Payload))
	}
	return strings.Join(all, " ")
}

// TestHistory: a client gets what it missed, in the default instance and in another one;
// the API and the command line read and delete it; a change of the spec switches it on.
func TestHistory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mycelium.yaml")
	if err := os.WriteFile(file, []byte(historyConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, "serve", "--config="+file, "--drain-interval=1ms")
	history := func(instance, topic, query string) (p historyPage) {
		t.Helper()
		status, text := s.call(t, "GET", "/api/instances/"+instance+"/topics/"+url.PathEscape(topic)+"/history"+query, "")
		if err := json.Unmarshal([]byte(text), &p); err != nil || status != 200 {
			t.Fatalf("%d %s", status, text)
		}
		return p
	}
	say := func(instance, topic string, from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			body := fmt.Sprintf(`{"topic":%q,"event":"new_msg","payload":{"n":%d}}`, topic, i)
			if status, text := s.call(t, "POST", "/api/instances/"+instance+"/broadcast", body); status != 204 {
				t.Fatalf("%d %s", status, text)
			}
		}
	}
	ada := dial(t, s, "&user=ada")
	if err := ada.WriteText(`["1","1","room:a/b","phx_join",{"history":{}}]`); err != nil {
		t.Fatal(err)
	}
	expect(t, ada, `["1",null,"room:a/b","history_state",{"recovered":true,"replayed":0}]`)
	expect(t, ada, `["1",null,"room:a/b","history_mark",{"pos":"`)
	start := history("default", "room:a/b", "?limit=1").Next
	say("default", "room:a/b", 0, 2)
	expect(t, ada, `{"n":1}`)
	ada.Drop()
	say("default", "room:a/b", 2, 3)
	ada = dial(t, s, "&user=ada")
	if err := ada.WriteText(`["1","1","room:a/b","phx_join",{"history":{"after":"` + start + `"}}]`); err != nil {
		t.Fatal(err)
	}
	expect(t, ada, `["1",null,"room:a/b","history_state",{"recovered":true,"replayed":3}]`)
	for i := range 3 {
		expect(t, ada, fmt.Sprintf(`[null,null,"room:a/b","new_msg",{"n":%d}]`, i))
	}

	first := history("default", "room:a/b", "?limit=2")
	if first.String() != `{"n":0} {"n":1}` || !first.More {
		t.Errorf("the first page: %+v", first)
	}
	if p := history("default", "room:a/b", "?after="+first.Next); p.String() != `{"n":2}` || p.More || p.Missing != "" {
		t.Errorf("the second page: %+v", p)
	}
	if p := history("default", "room:a/b", "?last=2"); p.String() != `{"n":1} {"n":2}` {
		t.Errorf("the last two: %+v", p)
	}
	if p := history("default", "room:a/b", "?since=2000-01-01T00:00:00Z"); len(p.Messages) != 3 {
		t.Errorf("since long ago: %+v", p)
	}
	say("default", "room:a/b", 3, 5)
	if p := history("default", "room:a/b", "?after="+start); p.String() != `{"n":2} {"n":3} {"n":4}` || p.Missing != "expired" {
		t.Errorf("after what was dropped: %+v", p)
	}
	command := func(args ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		args = append([]string{"instances", "--server", "http://" + s.addr}, args...)
		args[0], args[1], args[2], args[3] = "instances", args[3], args[1], args[2]
		if code := run(t.Context(), args, s.environ, &stdout, &stderr); code != 0 {
			t.Fatalf("%q: exit %d: %s", args, code, &stderr)
		}
		return stdout.String()
	}
	if out := command("history", "default", "room:a/b", "--last", "1"); !strings.Contains(out, `"n": 4`) || strings.Contains(out, `"n": 3`) {
		t.Errorf("the last one: %s", out)
	}
	id := history("default", "room:a/b", "").Messages[1].ID
	if out := command("forget", "default", "room:a/b", "--message", id); !strings.Contains(out, `"deleted": 1`) {
		t.Errorf("forgetting one: %s", out)
	}
	if p := history("default", "room:a/b", ""); p.String() != `{"n":2} {"n":4}` {
		t.Errorf("after one was forgotten: %+v", p)
	}
	for refused, want := range map[string]string{
		"--last=1":   "forget does not take --last; usage: mycelium instances forget ID TOPIC [--message MESSAGE | --before TIME]",
		"--message=": "query parameter message: must be the id of a message, as GET has it",
		"--before=":  "query parameter before: must be a time like 2030-01-31T12:00:00Z",
	} {
		var stderr bytes.Buffer
		args := []string{"instances", "forget", "default", "room:a/b", refused, "--server", "http://" + s.addr}
		if code := run(t.Context(), args, s.environ, io.Discard, &stderr); code == 0 || !strings.Contains(stderr.String(), want) {
			t.Errorf("forget %s: exit %d: %s; want %q", refused, code, &stderr, want)
		}
	}
	if out := command("forget", "default", "room:a/b"); !strings.Contains(out, `"deleted": 2`) {
		t.Errorf("forgetting all: %s", out)
	}

	if err := ada.WriteBinary([]byte("\x00\x01\x01\x08\x051broom:a/bbytes")); err != nil {
		t.Fatal(err)
	}
	expect(t, ada, `["1","b","room:a/b","phx_reply",{"response":{},"status":"ok"}]`)
	if status, text := s.call(t, "GET", "/api/instances/default/topics/room:a%2Fb/history", ""); !strings.Contains(text, `"event":"bytes","binary":""}`) {
		t.Errorf("a message without bytes: %d %s", status, text)
	}

	say("shop", "any", 0, 3)
	if p := history("shop", "any", ""); p.String() != `{"n":1} {"n":2}` {
		t.Errorf("in an instance of its own: %+v", p)
	}
	say("default", "lobby", 0, 3)
	if err := ada.WriteText(`["2","2","lobby","phx_join",{}]`); err != nil {
		t.Fatal(err)
	}
	expect(t, ada, `[null,null,"lobby","new_msg",{"n":2}]`)

	for path, want := range map[string]string{
		"/api/instances/default/topics/x/history?limit=0":    "400",
		"/api/instances/default/topics/x/history?after=x":    "400",
		"/api/instances/default/topics/x/history?since=x":    "400",
		"/api/instances/default/topics/x/history?last=0":     "400",
		"/api/instances/nobody/topics/x/history":             "404",
		"/api/instances/default/topics//history":             "404",
		"/api/instances/default/topics/not:recorded/history": `"messages":[]`,
	} {
		if status, text := s.call(t, "GET", path, ""); !strings.Contains(fmt.Sprint(status, text), want) {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	for query, want := range map[string]string{"?message=x": "400", "?before=x": "400", "?message=x&before=y": "400", "?before=2000-01-01T00:00:00Z": `"deleted":0`} {
		if status, text := s.call(t, "DELETE", "/api/instances/default/topics/lobby/history"+query, ""); !strings.Contains(fmt.Sprint(status, text), want) {
			t.Errorf("DELETE %s: %d %s", query, status, text)
		}
	}
	if status, text := s.call(t, "POST", "/api/instances", `{"id":"plain","type":"relay"}`); status != 201 {
		t.Fatalf("%d %s", status, text)
	}
	if status, text := s.call(t, "GET", "/api/instances/plain/topics/x/history", ""); status != 409 || !strings.Contains(text, "no-history") {
		t.Errorf("without history: %d %s", status, text)
	}
	if status, text := s.call(t, "PATCH", "/api/instances/plain", `{"history":[{}]}`); status != 200 {
		t.Errorf("%d %s", status, text)
	}
	say("plain", "x", 0, 1)
	if p := history("plain", "x", ""); p.String() != `{"n":0}` {
		t.Errorf("after it was switched on: %+v", p)
	}
	if status, text := s.call(t, "PATCH", "/api/instances/plain", `{"history":[{"topics":["a*b"],"age":"1000h","messages":-1}]}`); status != 422 ||
		!strings.Contains(text, "/history/0/topics") || !strings.Contains(text, "/history/0/age") || !strings.Contains(text, "/history/0/messages") {
		t.Errorf("%d %s", status, text)
	}
}

func TestHistoryConfig(t *testing.T) {
	for text, want := range map[string]string{
		"history: {rules: [{topics: ['a*b']}]}\n":                        "c.yaml:1: history.rules[0].topics has \"a*b\", which has a * that is not at the end",
		"history: {rules: [{topic: a}]}\n":                               "c.yaml:1: history.rules[0].topic is not a known field",
		"history: {rules: x}\n":                                          "history.rules must be a list of objects",
		"history: {rules: [{age: 5}]}\n":                                 "history.rules[0].age",
		"history: {rules: [{bytes: 1TB}]}\n":                             "history.rules[0].bytes",
		"history: {memory: 1}\n":                                         "history.memory",
		"instances: [{id: a, type: relay, history: [{messages: -1}]}]\n": "c.yaml:1: instances[0].history.0.messages is -1",
	} {
		file := filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), []string{"config", "check", "--config=" + file}, nil, &stdout, &stderr); code != 2 || !strings.Contains(stderr.String(), want) {
			t.Errorf("%s: exit %d, %s; want %s", text, code, &stderr, want)
		}
	}
}
