package realtime_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/auth"
	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/instances/realtime"
	"github.com/mycelium-rt/mycelium/internal/waittest"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a server whose default instance is of the type, and the instance "one" too.
type server struct {
	*testing.T
	addr    string
	manager *instances.Manager
}

const jwtSecret = "0123456789abcdef0123456789abcdef"

// tokens are options under which a client may read the private channels in its claim
// channels.join and those that begin with "open", and write those in channels.publish.
func tokens(t *testing.T) realtime.Options {
	t.Helper()
	quiet := zerolog.Nop()
	v, err := auth.New(auth.Options{
		Keys: []auth.Key{{Algorithm: "HS256", Secret: jwtSecret}}, Join: []string{"open*"}, Publish: []string{"open*"}, Leeway: -1,
		SocketID: "user:{sub}",
	}, &quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return realtime.Options{Verifier: func(string) *auth.Verifier { return v }}
}

// token signs claims.
func token(claims map[string]any) string {
	part := func(v any) string {
		text, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(text)
	}
	signed := part(map[string]any{"alg": "HS256", "typ": "JWT"}) + "." + part(claims)
	mac := hmac.New(sha256.New, []byte(jwtSecret))
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// userToken is a token of a user that is valid for d, and permits these private channels.
func userToken(user string, d time.Duration, join ...string) string {
	return token(map[string]any{
		"sub": user, "role": "authenticated", "exp": time.Now().Add(d).Unix(), "channels": map[string]any{"join": join, "publish": join},
	})
}

// fullDisk is where the messages of the topics realtime:stored* cannot be stored.
type fullDisk struct{}

func (fullDisk) Open() {}

func (fullDisk) Append(_, _ string, _ []byte, done func(error)) {
	go done(errors.New("the disk is full"))
}

func (fullDisk) Trim(_, _ string, _ uint64) {}

func (fullDisk) Remove(_, _ string, which func() (number uint64, exactly bool)) error {
	which()
	return nil
}

func start(t *testing.T, config string, o realtime.Options) *server {
	t.Helper()
	quiet := zerolog.Nop()
	s := &server{T: t}
	kept := history.NewStore(history.Options{})
	kept.Persist(fullDisk{})
	t.Cleanup(kept.Close)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.manager.ServeHTTP(w, r) })
	host, err := channels.NewEndpoint(channels.Options{Loops: 1, Handler: handler, Logger: &quiet, Drain: channels.Drain{Batch: 100, Interval: time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	s.manager = instances.New(host, instances.Options{Default: "default", Logger: &quiet, History: kept})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), waittest.Patience)
		defer cancel()
		if err := s.manager.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := host.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	s.manager.Register(realtime.Type(o))
	if err := s.manager.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"default", "one"} {
		i, _, err := s.manager.Create(t.Context(), instances.Spec{
			ID: id, Type: "realtime", Config: json.RawMessage(config),
			History: []instances.HistoryRule{{Topics: []string{"private:realtime:kept*"}}, {Topics: []string{"realtime:stored*"}, Durable: true}},
		})
		if err != nil || i.State != instances.Running {
			t.Fatalf("creating an instance: %+v, %v", i, err)
		}
	}
	addr, err := host.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = addr.String()
	return s
}

// peer is a client that writes and reads whole messages.
type peer struct {
	*testing.T
	conn *wstest.Client
}

// connect connects to the instance "one".
func (s *server) connect(vsn, key string) *peer {
	s.Helper()
	return s.dial("/socket/one/websocket?vsn=" + vsn + "&apikey=" + url.QueryEscape(key))
}

func (s *server) dial(target string) *peer {
	s.Helper()
	c, err := wstest.Dial(s.addr, target, nil)
	if err != nil {
		s.Fatalf("%s: %v", target, err)
	}
	s.Cleanup(func() { c.Drop() })
	return &peer{s.T, c}
}

// send sends text, or a binary message if it begins with a byte below 8.
func (p *peer) send(message string) {
	p.Helper()
	write := p.conn.WriteText
	if message[0] < 8 {
		write = func(m string) error { return p.conn.WriteBinary([]byte(m)) }
	}
	if err := write(message); err != nil {
		p.Fatal(err)
	}
}

// Parts of messages that differ from run to run.
var (
	refs  = regexp.MustCompile(`"phx_ref(_prev)?":"[^"]{16}"`)
	uuids = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	ids   = regexp.MustCompile(`"id":\d+`)
)

// next reads the next message.
func (p *peer) next() string {
	p.Helper()
	_, got, err := p.conn.ReadMessage()
	if err != nil {
		p.Fatal(err)
	}
	return string(got)
}

// want reads the next message, and fails the test if it is another.
func (p *peer) want(message string) {
	p.Helper()
	binary, got, err := p.conn.ReadMessage()
	if err != nil {
		p.Fatalf("%v; want %q", err, message)
	}
	got = refs.ReplaceAll(got, []byte(`"phx_ref$1":"REF"`))
	got = ids.ReplaceAll(uuids.ReplaceAll(got, []byte("UUID")), []byte(`"id":ID`))
	if string(got) != message || binary != (message[0] < 8) {
		p.Fatalf("received %q\nwant     %q", got, message)
	}
}

// silent sends a heartbeat, and expects nothing before its answer.
func (p *peer) silent() {
	p.Helper()
	p.send(`[null,"h","phoenix","heartbeat",{}]`)
	p.want(`[null,"h","phoenix","phx_reply",{"response":{},"status":"ok"}]`)
}

// until reads messages until one contains part, or until the connection is closed if part is "".
func (p *peer) until(part string) {
	p.Helper()
	for {
		_, got, err := p.conn.ReadMessage()
		switch {
		case err != nil && part == "":
			return
		case err != nil:
			p.Fatalf("%v; want %q", err, part)
		case part != "" && strings.Contains(string(got), part):
			return
		}
	}
}

// joins joins channel r with a config, and returns the client.
func (p *peer) joins(config string) *peer {
	p.Helper()
	p.join("r", `{"config":`+config+`}`)
	return p
}

func (p *peer) join(name, params string) {
	p.Helper()
	p.send(`["1","1","realtime:` + name + `","phx_join",` + params + `]`)
	p.want(`["1","1","realtime:` + name + `","phx_reply",{"response":{"postgres_changes":[]},"status":"ok"}]`)
}

// refused joins channel r, which is refused for a reason.
func (p *peer) refused(name, params, reason string) {
	p.Helper()
	p.send(`["1","1","realtime:` + name + `","phx_join",` + params + `]`)
	text, _ := json.Marshal(reason)
	p.want(`["1","1","realtime:` + name + `","phx_reply",{"response":{"reason":` + string(text) + `},"status":"error"}]`)
}

// system is a system message to channel r.
func system(status, extension, message string) string {
	text, _ := json.Marshal(message)
	return fmt.Sprintf(`["1",null,"realtime:r","system",{"extension":%q,"status":%q,"message":%s,"channel":"r"}]`, extension, status, text)
}

// ends wants the end of channel r, and that the connection goes on.
func (p *peer) ends(message string) {
	p.Helper()
	p.want(system("error", "system", message))
	p.want(`["1","1","realtime:r","phx_close",{}]`)
	p.silent()
}

// kind3 is a binary message of a client.
func kind3(ref, topic, event string, encoding byte, data string) string {
	header := []byte{3, 1, byte(len(ref)), byte(len(topic)), byte(len(event)), 0, encoding}
	return string(header) + "1" + ref + topic + event + data
}

// kind4 is the message that others receive for it.
func kind4(topic, event string, encoding byte, data string) string {
	return string([]byte{4, byte(len(topic)), byte(len(event)), 0, encoding}) + topic + event + data
}

// post sends a request, and returns status and body.
func (s *server) post(path, contentType, bearer, body string) (int, string, http.Header) {
	s.Helper()
	r, err := http.NewRequestWithContext(s.Context(), http.MethodPost, "http://"+s.addr+path, bytes.NewReader([]byte(body)))
	if err != nil {
		s.Fatal(err)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	return s.do(r)
}

func (s *server) do(r *http.Request) (int, string, http.Header) {
	s.Helper()
	r.Close = true
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		s.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		s.Fatal(err)
	}
	return answer.StatusCode, string(bytes.TrimSpace(text)), answer.Header
}
