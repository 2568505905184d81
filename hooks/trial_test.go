package hooks

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/units"
)

// TestTry: a back end is asked for each kind that it decides, about a client that does not exist; what would become of it
// is said, and nothing is counted.
func TestTry(t *testing.T) {
	b := serveBackend(t, func(r Request) any {
		switch r.Type {
		case Connect:
			return object{"allow": true, "socket_id": "users:42", "assigns": object{"user": "ann"}, "expires_in": 60}
		case Join:
			return object{"allow": true, "reply": object{"n": 1}, "track": object{"key": "ann"}, "push": []object{{"event": "hello"}}, "assigns": object{"role": "member"}}
		case Event:
			return object{"allow": false, "reply": object{"reason": "no spam"}}
		}
		return yes
	})
	h := b.hook(Connect, Join, Event, Refresh, Joined)
	h.Topics, h.Events = []string{"room:*", "lobby"}, []string{"new_msg"}
	a := start(t, nil, h)
	trials, err := a.decider.Try(t.Context(), "hook-1", Sample{Params: json.RawMessage(`{"token":"x"}`), Payload: json.RawMessage(`{"body":"hi"}`)})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`connect the client connects; its socket has the id "users:42"; unless it has a token, its user is "ann"; it expires after 60 s; later requests include assigns: user`,
		`join the client joins "room:test"; the reply is {"n":1}; later requests include assigns: role; it is tracked as "ann" (in instances of type relay); "hello" is pushed to the client`,
		`event the client receives the error {"reason":"no spam"}`,
		`refresh the connection stays open; it expires after the same time again`,
	}
	if len(trials) != len(want) {
		t.Fatalf("%d trials: %+v", len(trials), trials)
	}
	for i, trial := range trials {
		if got := trial.Kind + " " + trial.Effect; got != want[i] || trial.Err != nil || trial.Status != 200 || !json.Valid([]byte(trial.Answer)) {
			t.Errorf("got  %s (%d, %v)\nwant %s", got, trial.Status, trial.Err, want[i])
		}
	}
	for _, r := range b.requests {
		if !r.Test || r.Type == Event && (r.Event != "new_msg" || string(r.Payload) != `{"body":"hi"}`) || r.Topic != "" && r.Topic != "room:test" {
			t.Errorf("asked %+v", r)
		}
	}
	for _, kind := range []string{Join, Event, Refresh} {
		if r := b.asked(kind)[0]; r.SocketID != "users:42" || string(r.Assigns["user"]) != `"ann"` || (string(r.Assigns["role"]) == `"member"`) != (kind == Event) {
			t.Errorf("%s does not know what was assigned before: %+v", kind, r)
		}
	}
	if s := a.decider.Stats()[0]; s.Requests != 0 || s.Sum().Allowed != 0 {
		t.Errorf("a trial is counted: %+v", s)
	}
	if _, err := a.decider.Try(t.Context(), "other", Sample{}); !errors.Is(err, ErrNoHook) {
		t.Errorf("another hook: %v", err)
	}
	if _, err := a.decider.Try(t.Context(), "hook-1", Sample{Topic: "private:1"}); err == nil || !strings.Contains(err.Error(), `does not apply to the topic "private:1", only to room:*, lobby`) {
		t.Errorf("a topic of others: %v", err)
	}
}

// TestTryBad: what is wrong with an answer is said, with the answer, and what clients get; a back end that is away is
// asked all the same.
func TestTryBad(t *testing.T) {
	b := serveBackend(t, nil)
	h := b.hook(Join)
	h.Timeout = units.Duration(200e6)
	a := start(t, nil, h)
	end := make(chan struct{})
	defer close(end)
	for name, c := range map[string]struct {
		does   func(Request, http.ResponseWriter)
		status int
		answer string
		wrong  string
	}{
		"a wrong secret":   {func(_ Request, w http.ResponseWriter) { http.Error(w, "bad signature", http.StatusUnauthorized) }, http.StatusUnauthorized, "bad signature", "status 401"},
		"a mistyped field": {func(_ Request, w http.ResponseWriter) { io.WriteString(w, `{"alow":true}`) }, 200, `{"alow":true}`, `unknown field "alow"`},
		"HTML":             {func(_ Request, w http.ResponseWriter) { io.WriteString(w, "<h1>\xff") }, 200, "<h1>\uFFFD", "no JSON value at byte 0"},
		"a redirect":       {func(_ Request, w http.ResponseWriter) { w.Header().Set("Location", "/x"); w.WriteHeader(302) }, 302, "", "redirects are not followed"},
		"hanging":          {func(Request, http.ResponseWriter) { <-end }, 0, "", "deadline exceeded"},
	} {
		b.does(c.does)
		trials, err := a.decider.Try(t.Context(), "hook-1", Sample{})
		if err != nil || len(trials) != 1 {
			t.Fatalf("%s: %v, %v", name, trials, err)
		}
		if got := trials[0]; got.Status != c.status || strings.TrimSpace(got.Answer) != c.answer || got.Err == nil || !strings.Contains(got.Err.Error(), c.wrong) || got.Effect != `the client receives the error {"reason":"unavailable"}` {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if a.decider.Stats()[0].Open {
		t.Error("trials count for the breaker")
	}
}
