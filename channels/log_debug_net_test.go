package channels_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// find waits for a line with a message and all fields, given as name=value: a
// value of * stands for any.
func (l *logged) find(t *testing.T, message string, fields ...string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		text := l.String()
		for line := range strings.Lines(text) {
			var entry map[string]any
			if err := json.Unmarshal([]byte(line), &entry); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			if entry["message"] == message && entry["level"] == "debug" && hasFields(entry, fields) {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Errorf("no line %q with %q in\n%s", message, fields, text)
			return
		}
	}
}

func hasFields(entry map[string]any, fields []string) bool {
	for _, f := range fields {
		name, want, _ := strings.Cut(f, "=")
		value, ok := entry[name]
		if !ok || want != "*" && fmt.Sprint(value) != want {
			return false
		}
	}
	return true
}

// keeper refuses one topic.
type keeper struct{}

func (keeper) Opened() {}
func (keeper) Closed() {}
func (keeper) Join(topic string) error {
	if topic == "room:closed" {
		return errors.New("not for you")
	}
	return nil
}
func (keeper) Event(string, []byte) (channels.EventFunc, error) { return nil, nil }

// TestDebugLines: at level debug, connects, ends, joins and events are logged, and how
// long each has taken.
func TestDebugLines(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		log := new(logged)
		logger := zerolog.New(log)
		o.Logger = &logger
		o.Limits.MaxChannels, o.Limits.JoinsPerSecond = 2, 7
		s := serve(t, o, channels.SocketOptions{
			LongPoll: channels.LongPollOptions{Enabled: true},
			Connect: func(_ context.Context, s *channels.Socket, r *channels.Request) error {
				if r.Params.Get("deny") != "" {
					return errors.New("no such user")
				}
				s.SetID("users_socket:ada")
				s.SetGuard(keeper{})
				return nil
			},
		}, room())
		p := s.dial(t)
		log.find(t, "socket connected", "transport=websocket", "path=/socket/websocket", "address="+p.Conn().LocalAddr().String(),
			"version=2.0.0", "socket=users_socket:ada", "took_ms=*")

		ref := p.join("room:1", `{}`)
		log.find(t, "joined", "topic=room:1", "socket=users_socket:ada", "took_ms=*")
		for topic, want := range map[string]struct{ params, field string }{
			"room:2":      {`{"deny":"reason"}`, "error=*"},
			"room:3":      {`{"deny":"error"}`, "error=database is down"},
			"room:closed": {`{}`, `reason={"reason":"unauthorized"}`},
			"nowhere":     {`{}`, "reason=unmatched topic"},
		} {
			if _, reply, err := p.tryJoin(topic, want.params); err != nil {
				t.Fatalf("%s: %v %v", topic, reply, err)
			}
			log.find(t, "join refused", "topic="+topic, want.field, "socket=users_socket:ada")
		}
		p.join("room:4", `{}`)
		if _, _, err := p.tryJoin("room:5", `{}`); err != nil {
			t.Fatal(err)
		}
		log.find(t, "join refused", "topic=room:5", "reason=too many channels joined")
		joins := make([]string, 20) // read at once, so that no time passes between them
		for i := range joins {
			joins[i] = p.text(fmt.Sprint("join", i), fmt.Sprint("join", i), "room:6", "phx_join", `{}`)
		}
		if err := p.WriteRaw(frames(joins...)); err != nil {
			t.Fatal(err)
		}
		for range joins {
			p.await("phx_reply")
		}
		log.find(t, "message refused by a rate", "reason=too many joins")

		p.assertReply(ref, "room:1", "echo", `{"a":1}`, "ok", `{"a":1}`)
		log.find(t, "event handled", "topic=room:1", "event=echo", "socket=users_socket:ada", "took_ms=*")
		p.push(ref, "room:1", "phx_leave", `{}`)
		log.find(t, "channel ended", "topic=room:1", "error=channels: the client left")
		if err := p.Drop(); err != nil {
			t.Fatal(err)
		}
		log.find(t, "channel ended", "topic=room:4", "error=channels: the socket was closed")
		log.find(t, "socket closed", "transport=websocket", "socket=users_socket:ada", "reason=*") // a FIN or a reset

		if _, err := wstest.Dial(s.addr, "/socket/websocket?vsn=2.0.0&deny=yes", nil); err == nil {
			t.Error("not denied")
		}
		log.find(t, "connect refused", "path=/socket/websocket", "address=*", "error=no such user")
		r, err := http.Get("http://" + s.addr + "/socket/longpoll?vsn=1.0.0")
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		http.DefaultClient.CloseIdleConnections()
		log.find(t, "socket connected", "transport=longpoll", "path=/socket/longpoll", "address=*", "version=1.0.0")
		s.close(t)
		log.find(t, "socket closed", "transport=longpoll", "reason=channels: closed by the server with 1012")
		if strings.Contains(log.String(), "deny=yes") || strings.Contains(log.String(), `{"a":1}`) {
			t.Errorf("the log has what clients have sent:\n%s", log)
		}
	})
}

// TestNothingAtInfo: at level info, none of these lines is written.
func TestNothingAtInfo(t *testing.T) {
	log := new(logged)
	logger := zerolog.New(log).Level(zerolog.InfoLevel)
	s := serve(t, channels.Options{Logger: &logger}, channels.SocketOptions{}, room())
	p := s.dial(t)
	ref := p.join("room:1", `{}`)
	p.assertReply(ref, "room:1", "echo", `{"a":1}`, "ok", `{"a":1}`)
	if _, _, err := p.tryJoin("room:2", `{"deny":"reason"}`); err != nil {
		t.Fatal(err)
	}
	_ = p.Drop()
	s.close(t)
	if log.String() != "" {
		t.Errorf("logged: %s", log)
	}
}

// close shuts down before the test ends, to see what that logs.
func (s *server) close(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
}
