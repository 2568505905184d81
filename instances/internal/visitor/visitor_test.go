package visitor_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/instances/internal/visitor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// guard lets everything through.
type guard struct{}

func (guard) Opened()           {}
func (guard) Closed()           {}
func (guard) Join(string) error { return nil }
func (guard) Event(string, []byte) (channels.EventFunc, error) {
	return nil, nil
}

func TestName(t *testing.T) {
	e := channelstest.Start(t, channels.Options{})
	type params struct {
		User string `json:"user"`
	}
	ch := channels.Handle("t:*", func(c *channels.Context, p params) (params, error) {
		name, err := visitor.Name(c, p.User)
		return params{name}, err
	})
	connect := func(_ context.Context, s *channels.Socket, r *channels.Request) error {
		if token := r.Params.Get("token"); token == "17" {
			s.Assign("user", json.Number(token))
		} else {
			s.Assign("user", token)
		}
		if r.Params.Get("guard") != "" {
			s.SetGuard(guard{})
		}
		return nil
	}
	e.Socket("/socket", channels.SocketOptions{Connect: connect}, ch)
	for _, test := range []struct{ token, asked, name, reason string }{
		{token: "17", asked: "ada", name: "17"},
		{token: "grace&guard=1", asked: "ada", name: "grace"},
		{token: "&guard=1", asked: "ada", reason: "the token has no user: the server must assign a claim to it"},
		{asked: "ada", name: "ada"},
		{asked: "  ada\t", name: "ada"},
		{token: "grace", asked: "ada", name: "grace"},
		{token: "grace", name: "grace"},
		{reason: "user is missing: join with a name"},
		{asked: " ", reason: "user is missing: join with a name"},
		{asked: "a\nb", reason: "user has control characters"},
		{asked: "constructor", reason: `user is \"constructor\", which breaks the presence lists of JavaScript clients: choose another name`},
		{asked: strings.Repeat("x", 65), reason: "user is longer than 64 bytes"},
	} {
		_, reply := channelstest.Connect(t, e, "/socket?token="+test.token).TryJoin("t:1", params{test.asked})
		want := `{"user":"` + test.name + `"}`
		if test.reason != "" {
			want = `{"reason":"` + test.reason + `"}`
		}
		if string(reply.Response) != want {
			t.Errorf("token %q, asked for %q: %s, want %s", test.token, test.asked, reply.Response, want)
		}
	}
}
