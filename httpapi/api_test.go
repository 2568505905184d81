package httpapi

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/waittest"
)

// TestPublicURL: clients are given the address outside, below a path of a proxy too.
func TestPublicURL(t *testing.T) {
	for public, socket := range map[string]string{
		"https://rt.example.com":        "wss://rt.example.com/socket/a",
		"http://example.com/realtime/":  "ws://example.com/realtime/socket/a",
		"https://example.com:8443/a/rt": "wss://example.com:8443/a/rt/socket/a",
	} {
		f := newFixture(t, Options{PublicURL: public})
		want(t, f.call("POST", "/api/instances", `{"id":"a","type":"note"}`), 201, `"socket_url":"`+socket+`"`)
	}
}

func TestCreate(t *testing.T) {
	f := newFixture(t, Options{})
	const spec = `{"id":"a","type":"note","config":{"text":"hi"},"labels":{"team":"red"}}`
	r := f.call("POST", "/api/instances", spec)
	want(t, r, 201, `"id":"a"`, `"state":"running"`, `"revision":1`, `"socket_url":"ws://localhost:4000/socket/a"`)
	if r.Header.Get("Location") != "/api/instances/a" || r.Header.Get("ETag") != `"1"` {
		t.Errorf("headers %v", r.Header)
	}
	want(t, f.call("POST", "/api/instances", ` {"type":"note","labels":{"team":"red"},"config":{"text":"hi"},"id":"a"}`), 200, `"revision":1`)
	want(t, f.call("POST", "/api/instances", `{"id":"a","type":"note","config":{"text":"ho"}}`), 409, "config, labels")
	want(t, f.call("POST", "/api/instances", `{"type":"note"}`), 201)
}

func TestInvalid(t *testing.T) {
	f := newFixture(t, Options{MaxBody: 1000})
	want(t, f.call("POST", "/api/instances", `{"id":"a","type":"note"}`), 201)
	for _, test := range []struct {
		method, path, body string
		status             int
		part               string
		headers            []string
	}{
		{"POST", "/api/instances", `{"type":"nite"}`, 422, `"/type"`, nil},
		{"POST", "/api/instances", `{"id":"a b","type":"note"}`, 422, `"/id"`, nil},
		{"POST", "/api/instances", `{"type":"note","config":{"text":"much too long"}}`, 422, `"/config/text"`, nil},
		{"POST", "/api/instances", `{"type":"note","config":{"txt":"hi"}}`, 422, `/config`, nil},
		{"POST", "/api/instances", `{"type":"note","limits":{"max_connections":-1}}`, 422, `"/limits/max_connections"`, nil},
		{"POST", "/api/instances", `{"id":"sized","type":"note","limits":{"max_message":"2KiB"}}`, 201, `"max_message":2048`, nil},
		{"POST", "/api/instances", `{"type":"note","limits":{"max_message":"2TiB"}}`, 422, `"2TiB\" is not a size: write it like 65536 or`, nil},
		{"POST", "/api/instances", `{"type":"note","limits":{"heartbeats_per_second":70000}}`, 422, "is 70000: this server allows at most 65535", nil},
		{"POST", "/api/instances", `{"type":"note","limits":{"max_connections":"5"}}`, 422, `"/limits/max_connections"`, nil},
		{"POST", "/api/instances", `{"type":"note","idle_ttl":"5"}`, 422, `"/idle_ttl"`, nil},
		{"POST", "/api/instances", `{"type":"note","limits":{"max_conns":5}}`, 422, `"/limits/max_conns"`, nil},
		{"POST", "/api/instances", `{"typ":"note"}`, 422, `"/typ"`, nil},
		{"POST", "/api/instances", `{"type":"note"`, 400, "malformed", nil},
		{"POST", "/api/instances", `{"type":"note"} {}`, 400, "after the end", nil},
		{"POST", "/api/instances", `{"type":"note","Labels":{"x":"y"}}`, 422, `did you mean \"labels\"?`, nil},
		{"POST", "/api/instances", `{"type":"note","type":"note"}`, 422, "/type occurs twice", nil},
		{"POST", "/api/instances", `{"type":"note","idle_ttl":5}`, 422, `like \"90s\"`, nil},
		{"POST", "/api/instances", `{"type":"note","limits":{"max_connections":1e99}}`, 422, "whole number", nil},
		{"POST", "/api/instances", `["note"]`, 400, "object", nil},
		{"POST", "/api/instances", `{"type":"note"}`, 415, "application/json", []string{"Content-Type", "text/plain"}},
		{"POST", "/api/instances", `{"type":"` + strings.Repeat("x", 1000) + `"}`, 413, "1000 bytes", nil},
		{"PUT", "/api/instances", `{}`, 405, "GET, POST", nil},
		{"GET", "/api/instance", "", 404, "openapi.json", nil},
		{"GET", "/api/instances/b", "", 404, "no instance", nil},
		{"GET", "/api/instances/a%2Fstats", "", 404, "no instance", nil},
		{"GET", "/api/instances?stat=running", "", 400, "stat", nil},
		{"GET", "/api/instances?state=dead", "", 400, "dead", nil},
		{"GET", "/api/instances?limit=0", "", 400, "1 to 1000", nil},
		{"GET", "/api/instances/a/topics?limit=", "", 400, "1 to 1000", nil},
		{"GET", "/api/instances/a/topics?limit=1&limit=2", "", 400, "query parameter limit: is given 2 times", nil},
		{"GET", "/api/instances?type=note&type=note", "", 400, "give it once", nil},
		{"GET", "/api/instances?label=x", "", 400, "key:value", nil},
		{"GET", "/api/instances?%zz=1", "", 400, "%XX", nil},
		{"GET", "/api/instances?limit=1;after=a", "", 400, "semicolon", nil},
		{"GET", "/api/instances/a/topics?%zz", "", 400, "%XX", nil},
		{"GET", "/api/instances/a/presence?topic=%zz", "", 400, "%XX", nil},
		{"GET", "/api/instances/a/presence", "", 400, "topic", nil},
		{"PATCH", "/api/instances/a", `{}`, 428, "If-Match", nil},
		{"PATCH", "/api/instances/a", `{}`, 428, "If-Match", []string{"Content-Type", "text/plain"}},
		{"PATCH", "/api/instances/a", strings.Repeat(" ", 1001), 428, "If-Match", nil},
		{"PATCH", "/api/instances/a", `{}`, 400, "If-Match", []string{"If-Match", "x"}},
		{"PATCH", "/api/instances/a", `{}`, 400, "If-Match", []string{"If-Match", "x", "Content-Type", "text/plain"}},
		{"PATCH", "/api/instances/a", `{}`, 412, `"revision":1`, []string{"If-Match", `"7"`}},
		{"PATCH", "/api/instances/a", `{"labels":{"x":{}}}`, 422, "/labels", []string{"If-Match", `"7"`}},
		{"DELETE", "/api/instances/a", "", 400, "If-Match", []string{"If-Match", ""}},
		{"PATCH", "/api/instances/a", `{"id":"b"}`, 422, `"/id"`, []string{"If-Match", "*"}},
		{"PATCH", "/api/instances/a", `{"Labels":null}`, 422, `did you mean \"labels\"?`, []string{"If-Match", "*"}},
		{"POST", "/api/instances/a/broadcast", `{"topic":"room:1","event":"phx_close"}`, 422, `"/event"`, nil},
		{"POST", "/api/instances/a/broadcast", `{"topic":"room:1","event":"chan_reply_3"}`, 422, `"/event"`, nil},
		{"POST", "/api/instances/a/broadcast", `{"topic":"room:1","event":"phx_reply"}`, 422, `"/event"`, nil},
		{"POST", "/api/instances/a/broadcast", `{"topic":"room:1","event":"presence_state"}`, 422, `"/event"`, nil},
		{"POST", "/api/instances/a/broadcast", `{"topic":"room:1","event":"presence_diff"}`, 422, `"/event"`, nil},
		{"POST", "/api/instances/a/broadcast", `{"topic":"room:1","event":"token_expiring"}`, 422, `"/event"`, nil},
		{"POST", "/api/instances/a/broadcast", `{"topic":"room:1","event":"e","payload":[1]}`, 422, `"/payload"`, nil},
		{"POST", "/api/instances/a/broadcast", "{\"topic\":\"t\",\"event\":\"e\",\"payload\":{\"a\":\"\xff\"}}", 400, "UTF-8", nil},
		{"POST", "/api/instances/a/broadcast", `{"topic":"t","event":"e","payload":{"a":"\ud800"}}`, 400, "surrogate", nil},
		{"POST", "/api/instances/a/signal", `{"name":"echo","data":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`, 413, "1000 bytes", nil},
		{"POST", "/api/instances/a/broadcast", `{"event":"e"}`, 422, `"/topic"`, nil},
		{"POST", "/api/instances/b/broadcast", `{"topic":"t","event":"e"}`, 404, "no instance", nil},
		{"POST", "/api/instances/a/disconnect", `{}`, 422, "/user or socket_id or socket", nil},
		{"POST", "/api/instances/a/signal", `{"data":1}`, 422, `"/name"`, nil},
		{"POST", "/api/instances/a/signal", `{"name":"x"}`, 422, "only signal is echo", nil},
	} {
		t.Run(test.method+test.path+test.body, func(t *testing.T) {
			want(t, f.call(test.method, test.path, test.body, test.headers...), test.status, test.part)
		})
	}
}

func TestPatchAndDelete(t *testing.T) {
	f := newFixture(t, Options{})
	want(t, f.call("POST", "/api/instances", `{"id":"a","type":"note","config":{"text":"hi"},"labels":{"team":"red","x":"y"}}`), 201)
	want(t, f.call("PATCH", "/api/instances/a", `{"labels":{"x":null,"z":"1"},"limits":{"max_connections":5}}`, "If-Match", `"1"`), 200,
		`"revision":2`, `"labels":{"team":"red","z":"1"}`, `"max_connections":5`, `"config":{"text":"hi"}`)
	want(t, f.call("PATCH", "/api/instances/a", `{"labels":null}`, "If-Match", `"1"`), 412)
	if body := want(t, f.call("PATCH", "/api/instances/a", `{"labels":null}`, "If-Match", "*"), 200, `"revision":3`); strings.Contains(body, "labels") {
		t.Error("labels are still there: " + body)
	}
	want(t, f.call("DELETE", "/api/instances/a", "", "If-Match", `"2"`), 412)
	if r := f.call("DELETE", "/api/instances/a", ""); r.StatusCode != 204 {
		t.Errorf("status %d", r.StatusCode)
	}
}

func TestDrainAndResume(t *testing.T) {
	f := newFixture(t, Options{})
	want(t, f.call("POST", "/api/instances", `{"id":"a","type":"note"}`), 201)
	want(t, f.call("POST", "/api/instances/a/drain", ""), 202)
	if _, err := f.manager.Await(t.Context(), "a", "stopped"); err != nil {
		t.Fatal(err)
	}
	want(t, f.call("POST", "/api/instances/a/broadcast", `{"topic":"t","event":"e"}`), 409, "resume")
	want(t, f.call("POST", "/api/instances/a/resume", ""), 200, `"state":"running"`)
	want(t, f.call("GET", "/api/instances/a/stats", ""), 200, `"connections":0`)
	want(t, f.call("GET", "/api/instances/a/topics", ""), 200, `{"topics":[]}`)
	want(t, f.call("GET", "/api/instances/a/sockets?limit=3", ""), 200, `{"sockets":[]}`)
	want(t, f.call("GET", "/api/instances/a/presence?topic=room:1", ""), 200, `{"presence":{}}`)
	want(t, f.call("POST", "/api/instances/a/signal", `{"name":"echo","data":{"x":1}}`), 200, `{"result":{"x":1}}`)
}

// A list is complete and in order whatever the size of its pages, and has what
// the filter says alone.
func TestList(t *testing.T) {
	f := newFixture(t, Options{})
	for i := range 7 {
		want(t, f.call("POST", "/api/instances", fmt.Sprintf(`{"id":"n%d","type":"note","labels":{"odd":"%v"}}`, i, i%2 == 1)), 201)
	}
	for _, test := range []struct {
		query string
		ids   string
	}{
		{"limit=2", "n0 n1 n2 n3 n4 n5 n6"}, {"limit=7", "n0 n1 n2 n3 n4 n5 n6"}, {"label=odd:true&limit=1", "n1 n3 n5"},
		{"type=other", ""}, {"state=running&after=n4", "n5 n6"},
	} {
		var ids []string
		query := test.query
		for query != "" {
			var page Page
			if err := json.Unmarshal([]byte(want(t, f.call("GET", "/api/instances?"+query, ""), 200)), &page); err != nil {
				t.Fatal(err)
			}
			for _, i := range page.Instances {
				ids = append(ids, i.ID)
			}
			if query = ""; page.Next != "" {
				query = test.query + "&after=" + page.Next
			}
		}
		if got := strings.Join(ids, " "); got != test.ids {
			t.Errorf("%s: %s, want %s", test.query, got, test.ids)
		}
	}
}

// A broadcast with an Idempotency-Key is sent once, however often and at once it is asked for.
func TestIdempotencyKey(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	f := newFixture(t, Options{Now: func() time.Time { return now }})
	want(t, f.call("POST", "/api/instances", `{"id":"a","type":"note"}`), 201)
	sent := 0
	var mu sync.Mutex
	guest := f.guest("a")
	heard := guest.Subscribe("room:1", func(string, string, channels.Payload) { mu.Lock(); sent++; mu.Unlock() })
	defer heard.Close()
	count := func() int {
		guest.Subscribe("room:1", func(string, string, channels.Payload) {}).Close() // behind all that was sent before
		mu.Lock()
		defer mu.Unlock()
		return sent
	}
	const body = `{"topic":"room:1","event":"e","payload":{"n":1}}`
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if r := f.call("POST", "/api/instances/a/broadcast", body, "Idempotency-Key", "k1"); r.StatusCode != http.StatusNoContent {
				t.Errorf("status %d", r.StatusCode)
			}
		})
	}
	all.Wait()
	if n := count(); n != 1 {
		t.Errorf("sent %d times", n)
	}
	if r := f.call("POST", "/api/instances/a/broadcast", body, "Idempotency-Key", "k1"); r.Header.Get("Idempotency-Replayed") != "true" {
		t.Error("not said to be a replay")
	}
	want(t, f.call("POST", "/api/instances/a/broadcast", `{"topic":"room:2","event":"e"}`, "Idempotency-Key", "k1"), 422, "new key")
	var err error
	if f.api, err = New(f.manager, Options{Keys: f.api.keys, Before: f.api}); err != nil { // the configuration was loaded again
		t.Fatal(err)
	}
	if r := f.call("POST", "/api/instances/a/broadcast", body, "Idempotency-Key", "k1"); r.Header.Get("Idempotency-Replayed") != "true" {
		t.Error("not said to be a replay by the API that has followed")
	}
	now = now.Add(replayFor + time.Second)
	if r := f.call("POST", "/api/instances/a/broadcast", body, "Idempotency-Key", "k1"); r.Header.Get("Idempotency-Replayed") != "" {
		t.Error("remembered for too long")
	}
	if n := count(); n != 2 {
		t.Errorf("sent %d times, want 2", n)
	}
}

// An Idempotency-Key dies with its instance: another that is given the same id
// has been sent nothing yet.
func TestIdempotencyKeyDiesWithItsInstance(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	f := newFixture(t, Options{Now: func() time.Time { return now }})
	const body = `{"topic":"room:1","event":"e","payload":{"n":1}}`
	for life := range 3 {
		want(t, f.call("POST", "/api/instances", `{"id":"a","type":"note"}`), 201)
		for again := range 2 {
			r := f.call("POST", "/api/instances/a/broadcast", body, "Idempotency-Key", "k1")
			want(t, r, 204)
			if replayed := r.Header.Get("Idempotency-Replayed") == "true"; replayed != (again == 1) {
				t.Errorf("life %d, request %d: replayed is %v", life, again, replayed)
			}
		}
		want(t, f.call("DELETE", "/api/instances/a", ""), 204)
		waittest.For(t, "the instance to go", func() bool { _, err := f.manager.Get("a"); return err != nil })
	}
}

// TestOnlyKeys: no address, Host or missing field gives rights, and none takes
// away those of a key.
func TestOnlyKeys(t *testing.T) {
	f := newFixture(t, Options{KeyHint: "the hint"})
	for _, headers := range [][]string{
		nil, // a program on this machine, or a proxy that says nothing of itself
		{"peer", "[::1]:5000", "Host", "[::1]:4000"},
		{"Host", "127.0.0.1"},
		{"peer", "10.0.0.1:5000"},
		{"peer", "@"},
		{"Host", "rt.example.com"},
		{"Sec-Fetch-Site", "same-origin", "Origin", "http://localhost:4000"},
		{"X-Forwarded-For", "127.0.0.1"},
		{"Forwarded", "for=127.0.0.1"},
	} {
		want(t, f.call("GET", "/api/types", "", headers...), 200)
		for _, wrong := range []string{"", "Bearer", "Bearer mk_WRONG", "Basic " + f.secret} {
			want(t, f.call("GET", "/api/types", "", append([]string{"Authorization", wrong}, headers...)...), 401, "the hint")
			want(t, f.call("POST", "/api/instances", `{"id":"x","type":"note"}`, append([]string{"Authorization", wrong}, headers...)...), 401)
		}
		want(t, f.call("GET", "/api/openapi.json", "", append([]string{"Authorization", ""}, headers...)...), 200)
	}
	if _, err := New(f.manager, Options{}); err == nil || !strings.Contains(err.Error(), "Options.Keys") {
		t.Errorf("an API without keys: %v", err)
	}
}

// TestHolds: what a key has opened ends with the key, and with the scope.
func TestHolds(t *testing.T) {
	secret, key := NewKey("a", []Scope{Read}, nil)
	_, other := NewKey("b", []Scope{Admin}, nil)
	f := newFixture(t, Options{Keys: []Key{key, other}})
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+secret)
	id, err := f.api.Allow(r, Read)
	if err != nil || !f.api.Holds(id, Read) || f.api.Holds(id, Admin) || f.api.Holds("", Read) {
		t.Fatalf("%q, %v", id, err)
	}
	publisher, narrow := key, key
	publisher.Scopes, narrow.Instances = []Scope{Publish}, []string{"chat-*"}
	for _, keys := range [][]Key{{other}, {publisher}, {narrow}} {
		after, err := New(f.manager, Options{Keys: keys, Before: f.api})
		if err != nil {
			t.Fatal(err)
		}
		if after.Holds(id, Read) {
			t.Errorf("it still holds with %+v", keys)
		}
	}
}

// TestBodyThatDrips: whoever does not send what was announced is not waited for,
// with a key or without.
func TestBodyThatDrips(t *testing.T) {
	for _, test := range []struct {
		withKey bool
		status  string
	}{{true, "400"}, {false, "401"}} {
		f := newFixture(t, Options{})
		f.api.bodyTimeout = 20 * time.Millisecond
		server := httptest.NewServer(f.api)
		defer server.Close()
		c, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		key := ""
		if test.withKey {
			key = "Authorization: Bearer " + f.secret + "\r\n"
		}
		fmt.Fprintf(c, "POST /api/instances HTTP/1.1\r\nHost: localhost\r\n%sContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", key)
		c.SetReadDeadline(time.Now().Add(waittest.Patience))
		answer, err := io.ReadAll(c)
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 "+test.status) {
			t.Errorf("want %s and the end of the connection: %v, %s", test.status, err, answer)
		}
	}
}

func TestKeys(t *testing.T) {
	secrets := map[string]string{}
	var keys []Key
	for _, k := range []struct {
		name   string
		scopes []Scope
		ids    []string
	}{{"reader", []Scope{Read}, nil}, {"chats", []Scope{Publish, Read}, []string{"chat-*"}}, {"root", []Scope{Admin}, nil}, {"tenant", []Scope{Admin}, []string{"chat-*"}}} {
		secret, key := NewKey(k.name, k.scopes, k.ids)
		secrets[k.name], keys = secret, append(keys, key)
	}
	f := newFixture(t, Options{Keys: keys})
	for _, test := range []struct {
		key, method, path, body string
		status                  int
	}{
		{"root", "POST", "/api/instances", `{"id":"chat-1","type":"note"}`, 201},
		{"root", "POST", "/api/instances", `{"id":"other","type":"note"}`, 201},
		{"tenant", "POST", "/api/instances", `{"id":"chat-2","type":"note"}`, 201},
		{"tenant", "POST", "/api/instances", `{"id":"mine","type":"note"}`, 403},
		{"tenant", "POST", "/api/instances", `{"type":"note"}`, 422},
		{"reader", "POST", "/api/instances", `{"type":"note"}`, 403},
		{"reader", "GET", "/api/instances/other", "", 200},
		{"chats", "GET", "/api/instances/other", "", 403},
		{"chats", "GET", "/api/instances/chat-1", "", 200},
		{"chats", "DELETE", "/api/instances/chat-1", "", 403},
		{"reader", "POST", "/api/instances/chat-1/signal", `{"name":"echo"}`, 403},
		{"chats", "POST", "/api/instances/chat-1/signal", `{"name":"echo"}`, 200},
	} {
		want(t, f.call(test.method, test.path, test.body, "Authorization", "Bearer "+secrets[test.key], "peer", "10.0.0.1:9", "Host", "rt.example.com"), test.status)
	}
	if body := want(t, f.call("GET", "/api/instances?limit=1", "", "Authorization", "Bearer "+secrets["chats"]), 200, "chat-1", `"next":"chat-1"`); strings.Contains(body, "other") {
		t.Error("the list shows what the key must not see: " + body)
	}
	want(t, f.call("GET", "/api/types", "", "Authorization", "bearer "+secrets["reader"]), 200)
	want(t, f.call("GET", "/api/instances/other", "", "Authorization", "Bearer "+secrets["reader"], "Host", "rt.example.com", "X-Forwarded-Proto", "https"),
		200, `"socket_url":"wss://rt.example.com/socket/other"`)
	for _, header := range []string{"", "Bearer ", "Bearer mk_WRONG", "Basic " + secrets["root"], secrets["root"]} {
		r := f.call("GET", "/api/types", "", "Authorization", header)
		want(t, r, 401)
		if r.Header.Get("WWW-Authenticate") == "" {
			t.Error("no challenge")
		}
	}
}

func TestKeyValidation(t *testing.T) {
	_, good := NewKey("k", []Scope{Read}, nil)
	for _, test := range []struct {
		change func(k *Key)
		part   string
	}{
		{func(k *Key) { k.Name = "" }, "name"},
		{func(k *Key) { k.Hash = "mk_plain" }, "mycelium key new"},
		{func(k *Key) { k.Hash = k.Hash[:20] }, "64 hexadecimal"},
		{func(k *Key) { k.Scopes = nil }, "scopes"},
		{func(k *Key) { k.Scopes = []Scope{"write"} }, `"write"`},
		{func(k *Key) { k.Instances = []string{"[a"} }, "[a"},
	} {
		k := good
		test.change(&k)
		if _, err := New(nil, Options{Keys: []Key{k}}); err == nil || !strings.Contains(err.Error(), test.part) {
			t.Errorf("%v, want %s", err, test.part)
		}
	}
}
