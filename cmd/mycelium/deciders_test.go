package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/auth"
	"github.com/mycelium-rt/mycelium/hooks"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// backEnd is a back end that answers with what decide returns, and keeps what it was asked.
type backEnd struct {
	*httptest.Server
	secret string
	decide func(hooks.Request) string

	mu    sync.Mutex
	asked []hooks.Request
}

func serveBackEnd(t *testing.T, decide func(hooks.Request) string) *backEnd {
	t.Helper()
	b := &backEnd{secret: hooks.NewSecret(), decide: decide}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := hooks.Verify(r, b.secret)
		var q hooks.Request
		if err == nil {
			err = json.Unmarshal(body, &q)
		}
		if err != nil {
			t.Error(err)
		}
		b.mu.Lock()
		b.asked = append(b.asked, q)
		b.mu.Unlock()
		io.WriteString(w, b.decide(q))
	}))
	t.Cleanup(b.Close)
	return b
}

func (b *backEnd) hook(more string) string {
	return fmt.Sprintf(`{"url":%q,"secret":%q,%s}`, b.URL, b.secret, more)
}

// last returns the last request of a kind.
func (b *backEnd) last(kind string) (r hooks.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, q := range b.asked {
		if q.Type == kind {
			r = q
		}
	}
	return r
}

// TestHooksOfInstances: who may create instances cannot have the server send requests into private networks, unless the
// operator has said so; a change of hooks disconnects nobody.
func TestHooksOfInstances(t *testing.T) {
	b := serveBackEnd(t, func(r hooks.Request) string {
		return fmt.Sprintf(`{"allow":%v,"reply":{"decided":%q}}`, r.Topic == "open", r.Instance)
	})
	lines, secret := withKey(t)
	file := filepath.Join(t.TempDir(), "c.yaml")
	writeFile(t, file, lines)
	s := start(t, "serve", "--config="+file)
	api := caller{t, s.addr, secret}
	body := `{"id":"made","type":"relay","hooks":[` + b.hook(`"on":["join"],"headers":["Cookie"]`) + `]}`
	status, answer := api.call(http.MethodPost, "/instances", body)
	if status != http.StatusUnprocessableEntity || !strings.Contains(answer, "/hooks/0/url") || !strings.Contains(answer, "/hooks/0/headers/0") {
		t.Errorf("POST: %d %s", status, answer)
	}
	file2 := strings.Replace(lines, "private_jwks: true", "private_hooks: true", 1)
	writeFile(t, file, file2)
	s.hangup(t)
	if status, answer := api.call(http.MethodPost, "/instances", body); status != http.StatusCreated || strings.Contains(answer, b.secret) {
		t.Fatalf("POST with consent: %d %s", status, answer)
	}
	if status, answer := api.call(http.MethodGet, "/instances/made", ""); status != http.StatusOK || strings.Contains(answer, b.secret) || !strings.Contains(answer, `"secret":"***"`) {
		t.Errorf("GET: %d %s", status, answer)
	}
	c, err := wstest.Dial(s.addr, "/socket/made/websocket?vsn=2.0.0", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Drop()
	if reply := tryJoin(t, c, 1, "open"); !strings.Contains(reply, `{"response":{"decided":"made"},"status":"ok"}`) {
		t.Errorf("allowed: %s", reply)
	}
	if reply := tryJoin(t, c, 2, "closed"); !strings.Contains(reply, `{"response":{"decided":"made"},"status":"error"}`) {
		t.Errorf("refused: %s", reply)
	}

	for _, wrong := range []struct{ hooks, at string }{
		{`[{"url":"https://example.com","secret":"***","on":["join"]}]`, "/hooks/0/secret"},
		{`[{"url":"https://example.com","secret":"` + b.secret + `","on":["access"]}]`, "/hooks/0/on/0"},
		{`[{"url":"https://example.com","secret_file":"/etc/passwd","on":["join"]}]`, "/hooks/0/secret_file"},
		{`[{"url":"https://example.com","secret":"` + b.secret + `","on":["join"],"topic":["a"]}]`, "/hooks/0/topic"},
		{`{"url":"https://example.com"}`, "/hooks"},
	} {
		if status, answer := api.call(http.MethodPatch, "/instances/made", `{"hooks":`+wrong.hooks+`}`); status != http.StatusUnprocessableEntity || !strings.Contains(answer, `"`+wrong.at+`"`) {
			t.Errorf("PATCH %s: %d %s", wrong.hooks, status, answer)
		}
	}
	if status, answer := api.call(http.MethodPatch, "/instances/made", `{"hooks":null}`); status != http.StatusOK {
		t.Errorf("PATCH: %d %s", status, answer)
	}
	if reply := tryJoin(t, c, 3, "closed"); !strings.Contains(reply, `"error"`) {
		t.Errorf("a connected client after the change: %s", reply)
	}
	after, err := wstest.Dial(s.addr, "/socket/made/websocket?vsn=2.0.0", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer after.Drop()
	if reply := tryJoin(t, after, 1, "closed"); !strings.Contains(reply, `"ok"`) {
		t.Errorf("a client that connected after the change: %s", reply)
	}
}

// TestHooksAndTokens: hooks know the claims of a token that the server has verified, and not the token.
func TestHooksAndTokens(t *testing.T) {
	b := serveBackEnd(t, func(hooks.Request) string { return `{"allow":true}` })
	const secret = "0123456789abcdef0123456789abcdef"
	file, secretFile := filepath.Join(t.TempDir(), "c.yaml"), filepath.Join(t.TempDir(), "hook")
	writeFile(t, secretFile, b.secret+"\n")
	writeFile(t, file, fmt.Sprintf("hooks:\n  - url: %s\n    secret_file: %s\n    on: [connect, join]\n", b.URL, secretFile))
	environ := []string{"MYCELIUM_AUTH_SECRET=" + secret}
	s := startWith(t, environ, "serve", "--config="+file, "--auth-join=*")
	text := token(t, environ, "sign", "--sub=ada", "--ttl=1h")
	c := dial(t, s, "&locale=en&token="+text)
	tryJoin(t, c, 1, "room")
	for _, kind := range []string{"connect", "join"} {
		r := b.last(kind)
		if !strings.Contains(string(r.Claims), `"sub":"ada"`) || r.Params["locale"] != "en" || r.Params["token"] != nil {
			t.Errorf("%s: %+v", kind, r)
		}
	}
}

// TestHooksOfConfiguration: mistakes are found before the server starts, each at its place.
func TestHooksOfConfiguration(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	writeFile(t, file, `hooks:
  - url: example.com
    secret: x
    on: [join]
  - url: https://example.com
    secret_file: /nowhere/secret
    on: [access, leave]
    timeout: 1h
instances:
  - {id: one, type: realtime, hooks: [{url: "http://127.0.0.1:1/", secret: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA, on: [event]}]}
`)
	problems := problemsOf(t, nil, "--config="+file)
	for _, want := range []string{
		file + ":2: hooks[0].url is not an address", file + ":3: hooks[0].secret is not base64",
		file + ":7: hooks[1].on", `is "access", which applies to instances of type realtime only`, `is "leave": it must be a decision (connect, join`,
		file + ":8: hooks[1].timeout is 1h", `instances[0].hooks.0.on.0 is "event", which does not apply to instances of type realtime`,
	} {
		if !strings.Contains(problems, want) {
			t.Errorf("no %q in:\n%s", want, problems)
		}
	}
	if n := strings.Count(problems, "hooks[0].url"); n != 1 {
		t.Errorf("a problem is named %d times:\n%s", n, problems)
	}
	writeFile(t, file, "hooks:\n  - {url: \"https://example.com\", secret_file: /nowhere/secret, on: [join]}\n")
	if problems := problemsOf(t, nil, "--config="+file); !strings.Contains(problems, "hooks[0].secret_file cannot be read") {
		t.Error(problems)
	}
}

// TestHooksOfRealtime: a back end says who may use a private channel; others go by their tokens.
func TestHooksOfRealtime(t *testing.T) {
	b := serveBackEnd(t, func(r hooks.Request) string {
		if r.Type == "connect" {
			return `{"allow":true}`
		}
		return fmt.Sprintf(`{"allow":%v,"write":false}`, r.Topic == "r" && strings.Contains(string(r.Claims), `"sub":"ada"`))
	})
	file := filepath.Join(t.TempDir(), "c.yaml")
	writeFile(t, file, "dialect: realtime\nhooks:\n  - "+b.hook(`"on":["connect","access"],"topics":["r"]`)+"\n")
	environ := []string{"MYCELIUM_AUTH_SECRET=0123456789abcdef0123456789abcdef"}
	s := startWith(t, environ, "serve", "--config="+file)
	for sub, want := range map[string]string{"ada": joinedReply, "eve": "Unauthorized"} {
		text := token(t, environ, "sign", "--sub="+sub, "--ttl=1h")
		c := joinRealtime(t, s, "/realtime/v1/websocket?vsn=2.0.0&apikey="+text, `{"config":{"private":true,"broadcast":{"ack":true}}}`, want)
		if r := b.last("access"); r.Topic != "r" || !strings.Contains(string(r.Claims), sub) {
			t.Errorf("%+v", r)
		}
		if r := b.last("connect"); r.Params["apikey"] != nil || !strings.Contains(string(r.Claims), sub) {
			t.Errorf("%+v", r)
		}
		c.Drop()
	}
}

// TestRevokedUserOfBackEnd: to revoke a user ends the connections for which a back end has named that user, and those that
// it allows afterwards because it was asked before. The back end decides about the user's next ones.
func TestRevokedUserOfBackEnd(t *testing.T) {
	asked, decided := make(chan struct{}), make(chan struct{})
	b := serveBackEnd(t, func(r hooks.Request) string {
		if r.Params["slow"] != nil {
			close(asked)
			<-decided
		}
		return fmt.Sprintf(`{"allow":true,"assigns":{"user":%q}}`, r.Params["user"])
	})
	lines, secret := withKey(t)
	file := filepath.Join(t.TempDir(), "c.yaml")
	writeFile(t, file, lines+"hooks: ["+b.hook(`"on":["connect"],"timeout":"30s"`)+"]\n")
	s := start(t, "serve", "--config="+file)
	api := caller{t, s.addr, secret}
	ann, bob := dial(t, s, "&user=ann"), dial(t, s, "&user=bob")
	slow := make(chan *wstest.Client, 1)
	go func() {
		c, err := wstest.Dial(s.addr, "/socket/websocket?vsn=2.0.0&user=ann&slow=1", nil)
		if err != nil {
			t.Error(err)
		}
		slow <- c
	}()
	<-asked
	if status, answer := api.call(http.MethodPost, "/instances/default/revocations", `{"user":"ann"}`); status != http.StatusOK {
		t.Fatalf("POST: %d %s", status, answer)
	}
	closedWith(t, ann, auth.CloseRevoked)
	close(decided)
	if c := <-slow; c != nil {
		closedWith(t, c, auth.CloseRevoked)
	}
	for _, c := range []*wstest.Client{bob, dial(t, s, "&user=ann")} {
		if reply := tryJoin(t, c, 1, "room"); !strings.Contains(reply, `"ok"`) {
			t.Errorf("%s", reply)
		}
	}
}

// TestHooksTest: the command lists and tries hooks that decide and that are told, and says what is wrong.
func TestHooksTest(t *testing.T) {
	b := serveBackEnd(t, func(r hooks.Request) string {
		if r.Type == hooks.Event && r.Event == "ask" {
			return `{"alow":true}`
		}
		return `{"allow":true,"reply":{"n":1}}`
	})
	file := filepath.Join(t.TempDir(), "c.yaml")
	writeFile(t, file, `{"hooks":[`+b.hook(`"name":"app","on":["join","event","joined"],"topics":["room:*"]`)+`]}`)
	s := start(t, "serve", "--config="+file)
	command := func(want int, args ...string) string {
		t.Helper()
		var stdout, stderr strings.Builder
		if code := run(t.Context(), append([]string{"hooks", args[0], "default", "--server=" + s.addr}, args[1:]...), s.environ, &stdout, &stderr); code != want {
			t.Errorf("%v: exit %d, want %d: %s", args, code, want, &stderr)
		}
		return stdout.String() + stderr.String()
	}
	if got := command(0, "test", "app"); !strings.Contains(got, `joins "room:test"`) || !strings.Contains(got, "the back end passed the test") {
		t.Errorf("test: %s", got)
	}
	b.mu.Lock()
	var told bool
	for _, q := range b.asked {
		told = told || q.Type == "" // the test event, in a batch
	}
	b.mu.Unlock()
	if !told {
		t.Error("no test event was sent")
	}
	got := command(1, "test", "app", "--topic=room:7", "--event=ask", `--payload={"a":1}`)
	for _, part := range []string{`unknown field "alow"`, `{"alow":true}`, `"topic":"room:7","event":"ask","payload":{"a":1}`, "no valid answer for event"} {
		if !strings.Contains(got, part) {
			t.Errorf("a wrong answer: no %s in %s", part, got)
		}
	}
	if got := command(1, "test", "app", "--topic=lobby"); !strings.Contains(got, `the hook does not apply to the topic "lobby"`) {
		t.Errorf("a topic of others: %s", got)
	}
	if got := command(1, "test", "other"); !strings.Contains(got, `no hook "other"`) {
		t.Errorf("another hook: %s", got)
	}
	if got := command(1, "test", "app", "--payload=[]"); !strings.Contains(got, "must be a JSON object") {
		t.Errorf("a wrong payload: %s", got)
	}
	if got := command(0, "list"); !strings.Contains(got, "joined") || !strings.Contains(got, "answers") || !strings.Contains(got, "join,event") {
		t.Errorf("list: %s", got)
	}
}

// TestDecisionsAreCountedAfterTheEnd: what hooks have decided still counts when they have been replaced, or their instance
// has ended. Prometheus would take a counter that decreases for one that began again.
func TestDecisionsAreCountedAfterTheEnd(t *testing.T) {
	b := serveBackEnd(t, func(hooks.Request) string { return `{"allow":true}` })
	quiet := zerolog.Nop()
	all := &deciders{log: &quiet}
	for n := range int64(2) { // lives of an instance
		decider, release, err := all.get("room", []hooks.Hook{{Name: "app", URL: b.URL, Secret: b.secret, On: []string{hooks.Access}}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, asked, err := decider.AskAccess(t.Context(), "a", nil); err != nil || !asked {
			t.Fatal(asked, err)
		}
		release()
		f := all.figures()
		if len(f) != 1 || f[0].Hook != otherHooks || f[0].Requests != n+1 || len(f[0].Kinds) != 1 || f[0].Kinds[0].Allowed != n+1 {
			t.Fatalf("after %d decisions: %+v", n+1, f)
		}
	}
}
