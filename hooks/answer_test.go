package hooks

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/wire"
)

// TestAnswers: an invalid answer counts as none.
func TestAnswers(t *testing.T) {
	for _, c := range []struct{ kind, answer, want string }{
		{Join, `{"allow":true}`, ""},
		{Join, `{"allow":false,"reply":"no"}`, ""},
		{Join, ``, "empty answer"},
		{Join, "\r\n", "empty answer"},
		{Join, `{}`, `no "allow"`},
		{Join, `{"allow":true}<html>`, "after the end"},
		{Join, `{"allow":true}` + "\n", ""},
		{Join, `{"allow":null}`, `no "allow"`},
		{Join, `{"allow":"yes"}`, "allow"},
		{Join, `<html>`, "at byte 0"},
		{Join, "{\"allow\":true,\"reply\":{\"a\":\"\xff\"}}", "bad UTF-8 at byte 28"},
		{Event, "{\"allow\":true,\"payload\":{\"a\":\"\xff\"}}", "bad UTF-8"},
		{Event, `{"allow":true,"payload":{"a":"\ud800"}}`, "lone surrogate"},
		{Event, `{"allow":true,"push":[{"event":"x","payload":` + strings.Repeat(`{"a":`, 4096) + `1` + strings.Repeat(`}`, 4096) + `}]}`, "nested too deep"},
		{Connect, `{"allow":true,"assigns":{"a":1e400}}`, "number"},
		{Join, `[]`, "cannot unmarshal"},
		{Join, `{"alow":true}`, "unknown field"},
		{Join, `{"allow":true,"socket_id":"x"}`, `"socket_id", which has no effect on join`},
		{Connect, `{"allow":true,"payload":{}}`, `"payload", which has no effect on connect`},
		{Event, `{"allow":true,"expires_in":3}`, `"expires_in", which has no effect on event`},
		{Event, `{"allow":true,"write":true}`, `"write", which has no effect on event`},
		{Access, `{"allow":true,"write":true}`, ""},
		{Access, `{"allow":true,"reply":{}}`, `"reply", which has no effect on access`},
		{Connect, `{"allow":true,"expires_in":-1}`, "expires_in"},
		{Connect, `{"allow":true,"expires_in":1e-3}`, "expires_in is 0.001"},
		{Connect, `{"allow":true,"expires_in":0}`, ""},
		{Refresh, `{"allow":true,"expires_in":0.1}`, ""},
		{Connect, `{"allow":true,"socket_id":"` + strings.Repeat("x", 256) + `"}`, "socket_id"},
		{Connect, `{"allow":true,"assigns":{"a":"` + strings.Repeat("x", maxAssigns) + `"}}`, "assigns"},
		{Event, `{"allow":true,"payload":"text"}`, "not an object"},
		{Event, `{"allow":true,"broadcast":[{"payload":{}}]}`, "broadcast whose event is empty"},
		{Event, `{"allow":true,"broadcast":[{"event":"phx_close"}]}`, "server's own"},
		{Event, `{"allow":true,"push":[{"event":"x","payload":1}]}`, "not an object"},
		{Event, `{"allow":true,"track":{"meta":{}}}`, "key"},
		{Event, `{"allow":true,"track":{"key":"a","meta":[]}}`, "meta"},
	} {
		_, err := parseAnswer(c.kind, []byte(c.answer))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s, %.60s: %v, want %q", c.kind, c.answer, err, c.want)
		}
	}
}

// readable reports whether clients can read an object.
func readable(payload []byte) bool {
	compact, err := wire.Validate(bytes.Clone(payload))
	return err == nil && wire.IsObject(compact)
}

// FuzzAnswer: whatever a back end answers is an error, or says whether it allows, with payloads that clients take.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"allow":true}`, `{"allow":false,"reply":{"reason":"no"}}`, `{"allow":true,"expires_in":1e300}`, `{"allow":true,"assigns":{"a":[1,{}]}}`,
		`{"allow":true,"broadcast":[{"event":"x","topic":"y","payload":{"a":1}}],"push":[{"event":"x"}],"track":{"key":"a"}}`, `{"allow":true}{}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, kind := range decisions {
			a, err := parseAnswer(kind, []byte(text))
			if err != nil {
				continue
			}
			if a.Allow == nil || a.ExpiresIn != 0 && a.ExpiresIn < shortestLife.Seconds() || a.ExpiresIn > longestLife.Seconds() {
				t.Errorf("%+v", a)
			}
			for _, b := range a.Broadcast {
				if b.Event == "" || !readable(b.Payload) {
					t.Errorf("%+v", b)
				}
			}
			if a.Payload != nil && !readable(a.Payload) {
				t.Errorf("payload %q", a.Payload)
			}
			for name, value := range values(a.Assigns) {
				if _, err := json.Marshal(value); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	})
}
