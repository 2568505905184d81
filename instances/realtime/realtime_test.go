package realtime_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/instances/realtime"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// TestGenerations: clients of both versions in one channel, and what each of them receives.
func TestGenerations(t *testing.T) {
	s := start(t, "", realtime.Options{})
	v2, other := s.connect("2.0.0", "any").joins(`{}`), s.connect("2.0.0", "any").joins(`{"broadcast":{"self":"TRUE"}}`)
	v1 := s.connect("1.0.0", "any")
	v1.send(`{"topic":"realtime:r","event":"phx_join","payload":{"config":{"broadcast":{"ack":true}}},"ref":"1","join_ref":"1"}`)
	v1.want(`{"event":"phx_reply","payload":{"response":{"postgres_changes":[]},"status":"ok"},"ref":"1","topic":"realtime:r"}`)

	v2.send(kind3("7", "realtime:r", "cursor", 1, `{"x": 1}`))
	other.want(kind4("realtime:r", "cursor", 1, `{"x":1}`))
	v1.want(`{"event":"broadcast","payload":{"event":"cursor","payload":{"x":1},"type":"broadcast"},"ref":null,"topic":"realtime:r"}`)
	v2.send(kind3("8", "realtime:r", "cursor", 0, "\xff"))
	other.want(kind4("realtime:r", "cursor", 0, "\xff"))

	// Version 1 wants an ack; other wants its own broadcasts, and nobody gets an answer that wants none.
	v1.send(`{"topic":"realtime:r","event":"broadcast","payload":{"x":1,"type":"broadcast","event":"flat"},"ref":"2"}`)
	v1.want(`{"event":"phx_reply","payload":{"response":{},"status":"ok"},"ref":"2","topic":"realtime:r"}`)
	for _, p := range []*peer{v2, other} {
		p.want(`[null,null,"realtime:r","broadcast",{"x":1,"type":"broadcast","event":"flat"}]`)
	}
	other.send(`["1","9","realtime:r","broadcast",{"type":"broadcast","event":"e","payload":{}}]`)
	other.want(`[null,null,"realtime:r","broadcast",{"type":"broadcast","event":"e","payload":{}}]`)
	v2.want(`[null,null,"realtime:r","broadcast",{"type":"broadcast","event":"e","payload":{}}]`)
	v1.want(`{"event":"broadcast","payload":{"type":"broadcast","event":"e","payload":{}},"ref":null,"topic":"realtime:r"}`)

	// Unknown events and payloads that are not objects are ignored.
	v2.send("nothing")
	v2.send("\x03\x01")
	v2.send("\x00\x01\x01\x0a\x0919realtime:rbroadcast\x00\x01\x02")
	v2.send(`["1","9","realtime:r","broadcast",5]`)
	v2.send(`["1","9","realtime:r","shout",{}]`)
	v2.silent()
	v2.send(`["stale","9","realtime:r","presence",{}]`)
	v2.want(`["1","9","realtime:r","phx_reply",{"response":{},"status":"ok"}]`)
	v2.send(`[null,"10","realtime:r","phx_leave",{}]`)
	v2.want(`["1","10","realtime:r","phx_reply",{"response":{},"status":"ok"}]`)
	v2.want(`["1","1","realtime:r","phx_close",{}]`)
	v1.send(`{"topic":"phoenix","event":"heartbeat","payload":{},"ref":null}`)
	v1.want(`{"event":"phx_reply","payload":{"response":{},"status":"ok"},"ref":null,"topic":"phoenix"}`)
}

// TestAcks: only clients that want a reply get one.
func TestAcks(t *testing.T) {
	s := start(t, `{"limits":{"payload_bytes":100}}`, realtime.Options{})
	large := `"` + strings.Repeat("x", 100) + `"`
	quiet := s.connect("2.0.0", "any").joins(`{"broadcast":{"ack":"False"}}`)
	quiet.send(kind3("7", "realtime:r", "e", 1, `1`))
	quiet.send(kind3("7", "realtime:r", "e", 1, large))
	quiet.silent()
	p := s.connect("2.0.0", "any").joins(`{"broadcast":{"ack":true}}`)
	p.send(kind3("7", "realtime:r", "e", 1, `1`))
	p.want(`["1","7","realtime:r","phx_reply",{"response":{},"status":"ok"}]`)
	p.send(kind3("8", "realtime:r", "e", 1, large))
	p.want(`["1","8","realtime:r","phx_reply",{"response":"payload_size_exceeded","status":"error"}]`)
	p.silent()
	quiet.want(kind4("realtime:r", "e", 1, "1"))
	quiet.silent()
}

// TestJoins: every shape of a join's payload that Supabase takes.
func TestJoins(t *testing.T) {
	s := start(t, `{"postgres_changes":"system_error"}`, realtime.Options{})
	for _, params := range []string{
		`{"config":{}}`, `{"config":null}`, `{"config":{"postgres_changes":null}}`, `{"config":{"postgres_changes":[null]}}`,
		`{"config":{"broadcast":null,"presence":null,"private":null}}`, `{"config":5}`, `{"config":{"broadcast":[],"private":"maybe"}}`,
		`{"config":{"broadcast":{"ack":1,"self":{}},"presence":{"key":[],"enabled":"no"}},"access_token":5,"user_token":[],"version":"x"}`,
		`{"config":{"broadcast":{"replay":null}},"access_token":"sb_publishable_x"}`,
	} {
		p := s.connect("2.0.0", "")
		if strings.Contains(params, "replay") {
			p.refused("r", params, "UnableToReplayMessages: Replay is not allowed for public channels")
			continue
		}
		p.join("r", params)
		p.silent()
	}
	p := s.connect("2.0.0", "")
	p.refused("", `{"config":{}}`, "TopicNameRequired: You must provide a topic name")
	p.send(`["1","1","room:1","phx_join",{}]`)
	p.want(`[null,"1","room:1","phx_reply",{"response":{"reason":"unmatched topic"},"status":"error"}]`)
	p.refused("r", `{"config":{"presence":{"key":"__proto__"}}}`, `InvalidJoinPayload: presence.key is "__proto__", which breaks the presence lists of JavaScript clients: choose another`)
	p.joins("{}").silent()
	p.send(`["2","2","realtime:r","phx_join",{"config":{}}]`)
	p.want(`["2","2","realtime:r","phx_reply",{"response":{"postgres_changes":[]},"status":"ok"}]`)
	p.want(`["1","1","realtime:r","phx_close",{}]`)
}

// TestPresence: the state, keys, updates, and what is not an update.
func TestPresence(t *testing.T) {
	s := start(t, "", realtime.Options{})
	ada := s.connect("2.0.0", "any").joins(`{"presence":{"key":"ada","enabled":"true"}}`)
	ada.want(`["1",null,"realtime:r","presence_state",{}]`)
	bob := s.connect("2.0.0", "any").joins(`{"presence":{"key":""}}`) // not enabled: no state, but the diffs
	ok := func(p *peer) { p.want(`["1","5","realtime:r","phx_reply",{"response":{},"status":"ok"}]`) }
	both := func(diff string) {
		t.Helper()
		for _, p := range []*peer{ada, bob} {
			p.want(`[null,null,"realtime:r","presence_diff",` + diff + `]`)
		}
	}
	ada.send(`["1","5","realtime:r","presence",{"type":"presence","event":"TRACK","payload":{"at":1}}]`)
	both(`{"joins":{"ada":{"metas":[{"phx_ref":"REF","at":1}]}},"leaves":{}}`)
	ok(ada)
	ada.send(`["1","5","realtime:r","presence",{"event":"track","payload":{"at":1}}]`) // the same: no diff
	ok(ada)
	ada.send(`["1","5","realtime:r","presence",{"event":"track","payload":{"at":2}}]`)
	both(`{"joins":{"ada":{"metas":[{"phx_ref":"REF","phx_ref_prev":"REF","at":2}]}},"leaves":{"ada":{"metas":[{"phx_ref":"REF","at":1}]}}}`)
	ok(ada)
	bob.send(`["1","5","realtime:r","presence",{"event":"track"}]`)
	both(`{"joins":{"UUID":{"metas":[{"phx_ref":"REF"}]}},"leaves":{}}`)
	ok(bob)
	late := s.connect("2.0.0", "any").joins(`{"presence":{"key":7,"enabled":true}}`)
	late.want(`["1",null,"realtime:r","presence_state",{"ada":{"metas":[{"phx_ref":"REF","phx_ref_prev":"REF","at":2}]},"UUID":{"metas":[{"phx_ref":"REF"}]}}]`)
	ada.send(`["1","5","realtime:r","presence",{"event":"untrack"}]`)
	both(`{"joins":{},"leaves":{"ada":{"metas":[{"phx_ref":"REF","phx_ref_prev":"REF","at":2}]}}}`)
	ok(ada)
	ada.send(`["1","5","realtime:r","presence",{"event":"untrack"}]`)
	ok(ada)
	for message, response := range map[string]string{
		`{"event":"track","payload":[1]}`:  `{"response":{"reason":"Presence track payload must be a map"},"status":"error"}`,
		`{"event":"track","payload":null}`: `{"response":{"reason":"Presence track payload must be a map"},"status":"error"}`,
		`{"event":"wave"}`:                 `{"response":{},"status":"error"}`,
		`{"event":5}`:                      `{"response":{},"status":"error"}`,
		`{"type":"presence"}`:              `{"response":{},"status":"ok"}`,
		`[]`:                               `{"response":{},"status":"ok"}`,
	} {
		ada.send(`["1","5","realtime:r","presence",` + message + `]`)
		ada.want(`["1","5","realtime:r","phx_reply",` + response + `]`)
	}
	late.want(`[null,null,"realtime:r","presence_diff",{"joins":{},"leaves":{"ada":{"metas":[{"phx_ref":"REF","phx_ref_prev":"REF","at":2}]}}}]`)
	late.send(`["1","5","realtime:r","presence",{"event":"track","payload":{}}]`)
	late.want(`[null,null,"realtime:r","presence_diff",{"joins":{"7":{"metas":[{"phx_ref":"REF"}]}},"leaves":{}}]`)
	ok(late)
	ada.want(`[null,null,"realtime:r","presence_diff",{"joins":{"7":{"metas":[{"phx_ref":"REF"}]}},"leaves":{}}]`)
	ada.send(`["1","5","realtime:r","presence",{"event":"track","payload":{"x":"` + strings.Repeat("x", 64<<10) + `"}}]`)
	ada.ends("Track message size exceeded")
}

// TestPresenceRate: a channel that tracks too often ends, and its socket stays.
func TestPresenceRate(t *testing.T) {
	s := start(t, `{"limits":{"client_presence_events":2,"client_presence_window":"1h"}}`, realtime.Options{})
	p := s.connect("2.0.0", "any").joins(`{}`)
	for range 2 {
		p.send(`["1","5","realtime:r","presence",{"event":"untrack"}]`)
		p.want(`["1","5","realtime:r","phx_reply",{"response":{},"status":"ok"}]`)
	}
	p.send(`["1","5","realtime:r","presence",{"event":"untrack"}]`)
	p.ends("Client presence rate limit exceeded")
}

// TestPrivate: private channels are separate from public ones of the same name, and tokens say who reads and writes.
func TestPrivate(t *testing.T) {
	s := start(t, "", tokens(t))
	const r = `{"config":{"private":true,"broadcast":{"ack":true}}}`
	ada, bob := s.connect("2.0.0", userToken("ada", time.Hour, "r")), s.connect("2.0.0", userToken("bob", time.Hour, "r"))
	public := s.connect("2.0.0", userToken("eve", time.Hour)).joins(`{"presence":{"enabled":true}}`)
	public.want(`["1",null,"realtime:r","presence_state",{}]`)
	ada.join("r", r)
	bob.join("r", `{"config":{"private":"true","presence":{"enabled":true,"key":"bob"}}}`)
	bob.want(`["1",null,"realtime:r","presence_state",{}]`)
	ada.send(kind3("2", "realtime:r", "e", 1, `1`))
	ada.want(`["1","2","realtime:r","phx_reply",{"response":{},"status":"ok"}]`)
	bob.want(kind4("realtime:r", "e", 1, "1"))
	bob.send(`["1","5","realtime:r","presence",{"event":"track","payload":{}}]`)
	for _, p := range []*peer{ada, bob} {
		p.want(`[null,null,"realtime:r","presence_diff",{"joins":{"bob":{"metas":[{"phx_ref":"REF"}]}},"leaves":{}}]`)
	}
	public.silent()
	public.send(kind3("2", "realtime:r", "public", 1, `1`))
	ada.silent()

	eve := s.connect("2.0.0", userToken("eve", time.Hour, "other"))
	eve.refused("r", r, "Unauthorized: You do not have permissions to read from this Channel topic: r")
	eve.join("openly", r) // by the configuration
	// May read, may not write.
	reader := s.connect("2.0.0", token(map[string]any{"sub": "r", "role": "anon", "exp": time.Now().Add(time.Hour).Unix(), "channels": map[string]any{"join": []string{"r"}}}))
	reader.join("r", r)
	reader.send(kind3("2", "realtime:r", "e", 1, `2`))
	reader.send(`["1","5","realtime:r","presence",{"event":"track","payload":{}}]`)
	reader.want(`["1","5","realtime:r","phx_reply",{"response":{},"status":"error"}]`)
	ada.send(kind3("2", "realtime:r", "e", 1, `3`))
	reader.want(kind4("realtime:r", "e", 1, "3"))

	// A token that takes the right away ends the channel.
	ada.want(`["1","2","realtime:r","phx_reply",{"response":{},"status":"ok"}]`)
	ada.send(`["1","3","realtime:r","access_token",{"access_token":"` + userToken("ada", time.Hour, "other") + `"}]`)
	ada.ends("You do not have permissions to read from this Channel topic: r")
}

func TestPrivateOnly(t *testing.T) {
	s := start(t, `{"private_only":true}`, realtime.Options{})
	p := s.connect("2.0.0", "any")
	p.refused("r", `{"config":{}}`, "PrivateOnly: This project only allows private channels")
	p.refused("r", `{"config":{"private":true}}`, "Unauthorized: You do not have permissions to read from this Channel topic: r")
}

// TestTokens: at the connect, in joins, and renewed.
func TestTokens(t *testing.T) {
	s := start(t, `{"keys":["sb_publishable_1"]}`, tokens(t))
	valid, gone := userToken("ada", time.Hour), userToken("ada", -90*time.Second)
	other := valid[:len(valid)-8] + "AAAAAAAA"
	noExpiry := token(map[string]any{"role": "anon", "sub": "ada"})
	for key, body := range map[string]string{
		"":       `{"error":"API key is missing"}`,
		gone:     `{"error":"Token has expired N seconds ago"}`,
		"x":      `{"error":"The token provided is not a valid JWT"}`,
		other:    `{"error":"Failed to validate JWT signature"}`,
		noExpiry: "{\"error\":\"Fields `role` and `exp` are required in JWT\"}",
	} {
		_, err := wstest.Dial(s.addr, "/socket/one/websocket?vsn=2.0.0&apikey="+url.QueryEscape(key), nil)
		var status *wstest.StatusError
		if !errors.As(err, &status) || status.Status != 401 || expired(strings.TrimSpace(status.Body), 90) != body {
			t.Errorf("apikey %q: %v; want %s", key, err, body)
		}
	}
	if c, err := wstest.Dial(s.addr, "/socket/one/websocket?apikey=x", http.Header{"X-Api-Key": {valid}}); err != nil {
		t.Errorf("in the header: %v", err)
	} else {
		c.Drop()
	}

	p := s.connect("2.0.0", "sb_publishable_1")
	p.joins("{}").silent() // a key that is no token
	p.refused("r", `{"config":{"private":true}}`, "Unauthorized: You do not have permissions to read from this Channel topic: r")
	p.want(`["1","1","realtime:r","phx_close",{}]`)
	p.refused("r", `{"access_token":"x","config":{}}`, "MalformedJWT: The token provided is not a valid JWT")
	p.refused("r", `{"access_token":"","config":{}}`, "MalformedJWT: The token provided is not a valid JWT")
	p.refused("r", `{"access_token":"`+other+`","config":{}}`, "JwtSignatureError: Failed to validate JWT signature")
	p.refused("r", `{"access_token":"`+noExpiry+`","config":{}}`, "InvalidJWTToken: Fields `role` and `exp` are required in JWT")
	p.join("r", `{"user_token":"`+userToken("ada", time.Hour, "r")+`","access_token":"`+other+`","config":{"private":true}}`)

	// A renewal is never answered, and anything but a token is ignored.
	for _, payload := range []string{`{"access_token":null}`, `{"access_token":"sb_secret_x"}`, `{}`, `[]`, `{"access_token":"` + valid + `x"}`} {
		p := s.connect("2.0.0", valid).joins("{}")
		p.send(`["1","3","realtime:r","access_token",` + payload + `]`)
		if strings.Contains(payload, `x"}`) && !strings.Contains(payload, "sb_") {
			p.ends(":signature_error")
			continue
		}
		p.silent()
	}
	p = s.connect("2.0.0", valid).joins("{}")
	p.send(`["1","3","realtime:r","access_token",{"access_token":"` + noExpiry + `"}]`)
	p.ends("Fields `role` and `exp` are required in JWT")
}

var secondsAgo = regexp.MustCompile(`\d+ seconds ago`)

// expired replaces a number of seconds by N that is at least that, and a minute more at the
// most: a busy machine takes some of them.
func expired(text string, seconds int) string {
	return secondsAgo.ReplaceAllStringFunc(text, func(ago string) string {
		if n, _ := strconv.Atoi(strings.TrimSuffix(ago, " seconds ago")); n < seconds || n > seconds+60 {
			return ago
		}
		return "N seconds ago"
	})
}

// TestExpiry: a token that expires ends its channels but not the socket; a renewed one ends nothing.
func TestExpiry(t *testing.T) {
	t.Parallel() // it waits for the expiry
	s := start(t, "", tokens(t))
	short := userToken("ada", 5*time.Second)
	p := s.connect("2.0.0", userToken("ada", time.Hour))
	p.join("r", `{"access_token":"`+short+`","config":{}}`)
	renewed := s.connect("2.0.0", short).joins("{}")
	renewed.send(`["1","3","realtime:r","access_token",{"access_token":"` + userToken("ada", time.Hour) + `"}]`)
	if got, want := expired(p.next(), 0), system("error", "system", "Token has expired N seconds ago"); got != want {
		t.Fatalf("received %q\nwant     %q", got, want)
	}
	p.want(`["1","1","realtime:r","phx_close",{}]`)
	p.joins("{}").silent() // with the connection's token
	renewed.silent()
	// The connection has the token that has expired.
	renewed.send(`["2","2","realtime:other","phx_join",{"config":{}}]`)
	_, got, err := renewed.conn.ReadMessage()
	if err != nil || !strings.Contains(string(got), `{"reason":"InvalidJWTToken: Token has expired `) {
		t.Errorf("%s, %v", got, err)
	}
}

// TestChanges: an application that listens to a database is told that it cannot.
func TestChanges(t *testing.T) {
	s := start(t, "", realtime.Options{})
	const config = `{"config":{"postgres_changes":[{"event":"INSERT","schema":"public","table":"t"},null]}}`
	s.connect("2.0.0", "any").refused("r", config,
		"PostgresChangesUnavailable: this server does not deliver postgres_changes; remove .on('postgres_changes', …) from this channel")
	// Clients from before Supabase's version 2, and phoenix.js, have no config: the channel works.
	p := s.connect("2.0.0", "any")
	p.send(`["1","1","realtime:r","phx_join",{}]`)
	p.want(`["1","1","realtime:r","phx_reply",{"response":{"postgres_changes":[{"id":ID,"schema":"r"}]},"status":"ok"}]`)
	p.want(system("error", "postgres_changes", "Unable to subscribe to changes: this server does not deliver postgres_changes. Parameters: [schema: r]"))
	p.silent()

	lenient := start(t, `{"postgres_changes":"system_error"}`, realtime.Options{}).connect("2.0.0", "any")
	lenient.send(`["1","1","realtime:r","phx_join",` + config + `]`)
	lenient.want(`["1","1","realtime:r","phx_reply",{"response":{"postgres_changes":[{"event":"INSERT","id":ID,"schema":"public","table":"t"}]},"status":"ok"}]`)
	lenient.want(system("error", "postgres_changes", "Unable to subscribe to changes: this server does not deliver postgres_changes. Parameters: [event: INSERT, schema: public, table: t]"))
	lenient.silent()
}

// TestReplay: a client that wants earlier broadcasts gets those that are kept, oldest first and before any that come
// later, and with a meta that says so. What is not kept is refused.
func TestReplay(t *testing.T) {
	s := start(t, "", tokens(t))
	ada := userToken("ada", time.Hour, "r", "kept")
	p := s.connect("2.0.0", ada)
	join := func(replay string) string {
		return `{"config":{"private":true,"broadcast":{"replay":` + replay + `}}}`
	}
	p.refused("kept", join(`{"since":"x"}`), "UnableToReplayMessages: Replay params are not valid")
	p.refused("kept", join(`{"since":5,"limit":[]}`), "UnableToReplayMessages: Replay params are not valid")
	p.refused("r", join(`{"since":5,"limit":1}`), "UnableToReplayMessages: this server keeps no broadcasts of this channel")
	p.join("r", `{"config":{"private":true,"broadcast":{"replication_ready":true}}}`)
	p.want(system("error", "system", "Replication connection was not established: this server has no database"))

	sender := s.connect("2.0.0", ada)
	sender.join("kept", `{"config":{"private":true,"broadcast":{"ack":true}}}`)
	acked := func() { sender.want(`["1","2","realtime:kept","phx_reply",{"response":{},"status":"ok"}]`) }
	for n := range 30 {
		sender.send(kind3("2", "realtime:kept", "e", 1, fmt.Sprint(n)))
		acked()
	}
	sender.send(kind3("2", "realtime:kept", "bytes", 0, "\xff"))
	acked()
	sender.send(`["1","2","realtime:kept","broadcast",{"type":"broadcast","event":"text","payload":{},"meta":{"id":"7"}}]`)
	acked()
	const meta = `{"id":"UUID","replayed":true}`
	replayed := func(event string, encoding byte, data string) string {
		header := []byte{4, byte(len("realtime:kept")), byte(len(event)), byte(len(meta) + 36 - len("UUID")), encoding}
		return string(header) + "realtime:kept" + event + meta + data
	}
	for params, from := range map[string]int{join(`{"since":1}`): 7, join(`{"since":1,"limit":1000}`): 7, join(`{"since":1,"limit":0}`): 31, join(`{"since":4000000000000}`): 32} {
		p := s.connect("2.0.0", ada)
		p.join("kept", params)
		for n := from; n < 30; n++ {
			p.want(replayed("e", 1, fmt.Sprint(n)))
		}
		if from < 31 {
			p.want(replayed("bytes", 0, "\xff"))
		}
		if from < 32 {
			p.want(`[null,null,"realtime:kept","broadcast",{"event":"text","meta":` + meta + `,"payload":{},"type":"broadcast"}]`)
		}
		p.silent()
	}
	old := s.connect("1.0.0", ada)
	old.send(`{"topic":"realtime:kept","event":"phx_join","payload":` + join(`{"since":1,"limit":3}`) + `,"ref":"1"}`)
	old.want(`{"event":"phx_reply","payload":{"response":{"postgres_changes":[]},"status":"ok"},"ref":"1","topic":"realtime:kept"}`)
	old.want(`{"event":"broadcast","payload":{"event":"e","meta":` + meta + `,"payload":29,"type":"broadcast"},"ref":null,"topic":"realtime:kept"}`)
	old.want(`{"event":"broadcast","payload":{"event":"text","meta":` + meta + `,"payload":{},"type":"broadcast"},"ref":null,"topic":"realtime:kept"}`)
}

// TestLimits: with the messages of Supabase.
func TestLimits(t *testing.T) {
	s := start(t, `{"limits":{"channels":1,"users":2}}`, realtime.Options{})
	p := s.connect("2.0.0", "any").joins("{}")
	p.send(`["2","2","realtime:other","phx_join",{"config":{}}]`)
	p.want(`["2","2","realtime:other","phx_reply",{"response":{"reason":"ChannelRateLimitReached: Too many channels"},"status":"error"}]`)
	p.send(`["1","3","realtime:r","phx_leave",{}]`)
	p.want(`["1","3","realtime:r","phx_reply",{"response":{},"status":"ok"}]`)
	p.want(`["1","1","realtime:r","phx_close",{}]`)
	p.joins("{}")
	s.connect("2.0.0", "any").silent()
	_, err := wstest.Dial(s.addr, "/socket/one/websocket?apikey=any", nil)
	var status *wstest.StatusError
	if !errors.As(err, &status) || status.Status != 429 || strings.TrimSpace(status.Body) != `{"error":"Too many connected users"}` {
		t.Errorf("a third client: %v", err)
	}
}

// TestPaths: all addresses that clients make of the URL of a project.
func TestPaths(t *testing.T) {
	s := start(t, "", realtime.Options{})
	byDefault, one := s.dial("/socket/websocket?vsn=2.0.0").joins("{}"), s.dial("/socket/one/websocket?vsn=2.0.0").joins("{}")
	for path, in := range map[string]*peer{
		"/realtime/v1": byDefault, "/socket": byDefault, "/socket/realtime/v1": byDefault, "/socket/default": byDefault,
		"/socket/one": one, "/socket/one/realtime/v1": one,
	} {
		p := s.dial(path + "/websocket?vsn=2.0.0").joins("{}")
		p.send(kind3("2", "realtime:r", "e", 1, `"`+path+`"`))
		in.want(kind4("realtime:r", "e", 1, `"`+path+`"`))
		p.conn.Drop()
		if status, body, _ := s.post(path+"/api/broadcast/r/events/e", "application/json", "", `{"path":"`+path+`"}`); status != 202 {
			t.Errorf("POST to %s: %d %s", path, status, body)
			continue
		}
		in.want(kind4("realtime:r", "e", 1, `{"path":"`+path+`"}`))
	}
	for _, path := range []string{"/realtime/v2", "/socket/two", "/socket/one/realtime"} {
		if _, err := wstest.Dial(s.addr, path+"/websocket", nil); err == nil {
			t.Errorf("%s is served", path)
		}
		if status, _, _ := s.post(path+"/api/broadcast", "application/json", "", "{}"); status != 404 {
			t.Errorf("POST to %s: %d", path, status)
		}
	}
}

// TestConfigure: a change of the configuration needs no restart, and an invalid one is refused.
func TestConfigure(t *testing.T) {
	s := start(t, "", realtime.Options{})
	p := s.connect("2.0.0", "any").joins("{}")
	change := func(config string) error {
		_, err := s.manager.Update(t.Context(), "one", instances.AnyRevision, func(spec *instances.Spec) error {
			spec.Config = json.RawMessage(config)
			return nil
		})
		return err
	}
	for config, at := range map[string]string{
		`{"keys":[""]}`: "/config/keys/0", `{"error_delay":"10s"}`: "/config/error_delay", `{"presence_window":"2m"}`: "/config/presence_window",
		`{"postgres_changes":"maybe"}`: "/config/postgres_changes", `{"limits":{"users":-1}}`: "/config/limits/users",
		`{"limits":{"client_presence_window":"-1s"}}`: "/config/limits/client_presence_window",
	} {
		if err := change(config); err == nil || !strings.Contains(err.Error(), at) {
			t.Errorf("%s: %v; want an error at %s", config, err, at)
		}
	}
	if err := change(`{"private_only":true}`); err != nil {
		t.Fatal(err)
	}
	p.silent() // it is still there
	p.refused("s", `{"config":{}}`, "PrivateOnly: This project only allows private channels")
}
