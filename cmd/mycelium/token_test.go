//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/fielderr"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

const (
	authSecret  = "MYCELIUM_AUTH_SECRET=s3cr3t-s3cr3t-s3cr3t-s3cr3t-s3cr3t"
	phoenixBase = "MYCELIUM_AUTH_PHOENIX_SECRET=ph0en1x-ph0en1x-ph0en1x-ph0en1x"
)

// token runs "mycelium token" and returns what it prints.
func token(t *testing.T, environ []string, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), append([]string{"token"}, args...), environ, &stdout, &stderr); code != 0 || stderr.Len() > 0 {
		t.Fatalf("mycelium token %q: exit %d: %s", args, code, &stderr)
	}
	return strings.TrimSpace(stdout.String())
}

// A token that is signed is verified by the same configuration, and says what
// it is good for.
func TestTokenCommand(t *testing.T) {
	both := []string{authSecret, phoenixBase}
	flags := []string{"--auth-issuer=me", "--auth-audience=you", "--auth-socket-id=u:{sub}", "--auth-join=user:{sub},lobby"}
	for _, c := range []struct {
		name, prefix  string
		environ, args []string
	}{
		{"JWT", "eyJ", both, nil},
		{"JWT alone", "eyJ", both[:1], nil},
		{"Phoenix", "SFMyNTY.", both, []string{"--phoenix"}},
		{"Phoenix alone", "SFMyNTY.", both[1:], nil},
	} {
		args := append([]string{"sign", "--sub=ada", "--claims", `{"channels":{"publish":["room:{sub}:*"]}}`, "--ttl", "5m"}, append(c.args, flags...)...)
		signed := token(t, c.environ, args...)
		if !strings.HasPrefix(signed, c.prefix) {
			t.Errorf("%s: %s", c.name, signed)
		}
		var got struct {
			Claims        map[string]any
			SocketID      string `json:"socket_id"`
			Join, Publish []string
		}
		text := token(t, c.environ, append([]string{"verify", signed}, flags...)...)
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatal(err)
		}
		if got.Claims["sub"] != "ada" || got.SocketID != "u:ada" || strings.Join(got.Join, " ") != "lobby user:ada" || strings.Join(got.Publish, " ") != "room:ada:*" {
			t.Errorf("%s: %s", c.name, text)
		}
	}
	if data := token(t, both[1:], "verify", token(t, both[1:], "sign", "--sub", "ada")); !strings.Contains(data, `"sub": "ada"`) {
		t.Errorf("an id alone: %s", data)
	}
}

func TestTokenCommandRefuses(t *testing.T) {
	jwt := []string{authSecret}
	signed := token(t, jwt, "sign", "--sub=ada")
	pem := filepath.Join(t.TempDir(), "key.pem")
	writeFile(t, pem, "no key")
	for _, c := range []struct {
		args, environ []string
		code          int
		stderr        string
	}{
		{[]string{"sign"}, nil, 2, "no key is configured for tokens: set auth.secret, "},
		{[]string{"sign", "--ttl=0s"}, jwt, 2, `--ttl: "0s" is not a duration of at least 1s, for example 90s or 1h`},
		{[]string{"sign", "--claims", "[]"}, jwt, 2, "--claims is not a JSON object"},
		{[]string{"sign", "--claims={} {}"}, jwt, 2, "--claims is not a JSON object"},
		{[]string{"sign", "--sub"}, jwt, 2, "--sub needs a value"},
		{[]string{"sign", "--phoenix"}, jwt, 2, "--phoenix needs auth.phoenix_secret"},
		{[]string{"sign"}, []string{"MYCELIUM_AUTH_SECRET=short"}, 2, "auth.secret (from environment variable MYCELIUM_AUTH_SECRET): the value has 5 bytes: HS256 needs at least 32"},
		{[]string{"sign", "--auth-algorithm=RS256"}, jwt, 2, "auth.secret (from environment variable MYCELIUM_AUTH_SECRET): the value is not for RS256, which verifies with a public_key"},
		{[]string{"sign", "--auth-public-key-file=/none.pem"}, nil, 2, `auth.public_key_file (from flag --auth-public-key-file): "/none.pem" cannot be read: no such file`},
		{[]string{"sign", "--auth-algorithm=RS256", "--auth-public-key-file=" + pem}, nil, 2, "auth.public_key_file (from flag --auth-public-key-file): the value is not PEM"},
		{[]string{"sign", "--auth-public-key-file=" + pem}, jwt, 2, "are both set; set one of them, for the algorithm in auth.algorithm"},
		{[]string{"sign", "--auth-phoenix-salt="}, []string{phoenixBase}, 2, "auth.phoenix_salt (from flag --auth-phoenix-salt): the value is empty"},
		{[]string{"sign", "--auth-jion=x"}, jwt, 2, "did you mean --auth-join?"},
		{[]string{"verify", signed, "--auth-audience=you"}, jwt, 1, "auth: token refused: missing claim"},
		{[]string{"verify", signed}, []string{authSecret + "x"}, 1, "auth: token refused: bad signature"},
		{[]string{"verify", signed}, []string{phoenixBase}, 1, "auth: token refused: algorithm"},
		{[]string{"verify", "x"}, jwt, 1, "auth: token refused: malformed"},
		{nil, nil, 2, "mycelium token: missing command; the commands are sign, verify"},
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), append([]string{"token"}, c.args...), c.environ, &stdout, &stderr)
		if code != c.code || !strings.Contains(stderr.String(), c.stderr) || stdout.Len() > 0 || strings.Contains(stderr.String(), "s3cr3t") {
			t.Errorf("mycelium token %q: exit %d, want %d\n%s%s\nwant %s", c.args, code, c.code, &stdout, &stderr, c.stderr)
		}
	}
	var stdout bytes.Buffer
	if code := verifyToken(t.Context(), nil, jwt, strings.NewReader(signed+"\n"), &stdout, os.Stderr); code != 0 || !strings.Contains(stdout.String(), "ada") {
		t.Errorf("from the standard input: %d, %s", code, &stdout)
	}
}

// A server with a secret lets nobody in without a token, and shows clients as
// whom their tokens say that they are.
func TestServeAuth(t *testing.T) {
	environ := []string{authSecret}
	file := filepath.Join(t.TempDir(), "c.yaml")
	writeFile(t, file, "auth:\n  join: ['room:*']\n")
	s := startWith(t, environ, "--config="+file)
	target := "/socket/websocket?vsn=2.0.0&user=eve"
	_, err := wstest.Dial(s.addr, target, nil)
	var refused *wstest.StatusError
	if !errors.As(err, &refused) || refused.Status != http.StatusForbidden || refused.Body != "" {
		t.Fatalf("without a token: %v", err)
	}
	ada := dial(t, s, "&user=eve&token="+token(t, environ, "sign", "--sub=ada", "--claims", `{"channels":{"publish":["room:1"]}}`))
	if err := ada.WriteText(`["1","1","room:1","phx_join",{"user":"eve"}]`); err != nil {
		t.Fatal(err)
	}
	expect(t, ada, `"presence_state",{"ada"`)
	if reply := tryJoin(t, ada, 2, "other"); !strings.Contains(reply, `"unauthorized"`) {
		t.Errorf("%s", reply)
	}
	if err := ada.WriteText(`["1","3","room:1","new_msg",{"body":"hello"}]`); err != nil {
		t.Fatal(err)
	}
	expect(t, ada, `"new_msg",{"body":"hello"}`)

	// What is reloaded counts for who connects from then on.
	writeFile(t, file, "auth:\n  join: ['lobby']\n  param: jwt\n")
	s.hangup(t)
	bob := dial(t, s, "&jwt="+token(t, environ, "sign", "--sub=42"))
	for topic, want := range map[string]string{"room:1": "unauthorized", "lobby": `"ok"`} {
		if reply := tryJoin(t, bob, 3, topic); !strings.Contains(reply, want) {
			t.Errorf("%s: %s", topic, reply)
		}
	}
	writeFile(t, file, "auth:\n  join: ['a*b']\n")
	if lines := s.hangup(t); !strings.Contains(fmt.Sprint(lines[len(lines)-1].Problems), "c.yaml:2): the value (0) has a * that is not at the end") {
		t.Errorf("%+v", lines)
	}
	if log := s.log.String(); !strings.Contains(log, `"reason":"missing"`) || strings.Contains(log, "s3cr3t") || strings.Contains(log, "eyJ") {
		t.Errorf("%s", log)
	}
}

// An instance's own auth is read from its spec, and wrong fields are named.
func TestSpecAuth(t *testing.T) {
	for text, want := range map[string]string{
		`{"keys":[{"alg":"HS256","secret":"short"}]}`: "/auth/keys/0/secret has 5 bytes: HS256 needs at least 32",
		`{"jkws":{}}`:        "/auth/jkws is not a known field",
		`{"Join":["*"]}`:     `/auth/Join is not a known field; did you mean "join"?`,
		`{"leeway":5}`:       `/auth/leeway is a JSON number: it must be a text like "90s" or "5m"`,
		`{"jwks":{"url":1}}`: "/auth/jwks/url is not a known field",
		`[]`:                 "/auth must be a JSON object",
		`{"jwks":{"urls":["http://127.0.0.1:4000/jwks"]}}`:                      "/auth/jwks/urls/0 is an address of this machine or of a private network",
		`{"jwks":{"urls":["https://[::ffff:10.0.0.1]/jwks"]}}`:                  "/auth/jwks/urls/0 is an address of this machine or of a private network",
		`{"jwks":{"urls":["http://169.254.169.254/latest"],"allow_http":true}}`: "/auth/jwks/urls/0 is an address of this machine or of a private network",
		`{"anybody":false}`: "/auth/anybody is not a known field",
		`{}`:                "/auth has nothing to verify tokens with",
	} {
		_, err := specAuth([]byte(text), false)
		var invalid fielderr.List
		if !errors.As(err, &invalid) || !strings.HasPrefix(invalid[0].Field+" "+invalid[0].Reason, want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	o, err := specAuth([]byte(`{"phoenix_token":{"secret_key_base":"ph0en1x-ph0en1x-ph0en1x","salt":"s","max_age":"1h"},"assigns":{"team":"t"}}`), false)
	if err != nil || o.Assigns["user"] != "sub" || o.Assigns["team"] != "t" {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err := specAuth(nil, false); o != nil || err != nil {
		t.Errorf("%+v, %v", o, err)
	}
}

// An instance that is created over HTTP has tokens of its own, whose secrets
// the API does not show again.
// TestInstancesWithoutAuth: what the configuration says is for all of them, but
// for those that are open to anybody.
func TestInstancesWithoutAuth(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	writeFile(t, file, "auth:\n  join: ['room:*']\ninstances: [{id: declared, type: relay}]\n")
	s := startWith(t, []string{authSecret}, "--config="+file)
	for _, spec := range []string{`{"id":"closed","type":"relay"}`, `{"id":"open","type":"relay","auth":{"anybody":true}}`} {
		status, text := s.call(t, "POST", "/api/instances", spec)
		if status != http.StatusCreated || strings.Contains(spec, "anybody") && !strings.Contains(text, `"auth":{"anybody":true}`) {
			t.Fatalf("%s: %d %s", spec, status, text)
		}
	}
	for _, id := range []string{"closed", "declared"} {
		var refused *wstest.StatusError
		if _, err := wstest.Dial(s.addr, "/socket/"+id+"/websocket?vsn=2.0.0", nil); !errors.As(err, &refused) || refused.Status != http.StatusForbidden {
			t.Errorf("%s without a token: %v", id, err)
		}
	}
	with := func(path, topic, want string) {
		t.Helper()
		c, err := wstest.Dial(s.addr, path, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Drop()
		if reply := tryJoin(t, c, 1, topic); !strings.Contains(reply, want) {
			t.Errorf("%s at %s: %s", topic, path, reply)
		}
	}
	tokenParam := "&token=" + token(t, []string{authSecret}, "sign", "--sub=ada")
	with("/socket/open/websocket?vsn=2.0.0", "other", `"ok"`)
	with("/socket/closed/websocket?vsn=2.0.0"+tokenParam, "room:1", `"ok"`)
	with("/socket/closed/websocket?vsn=2.0.0"+tokenParam, "other", "unauthorized")
	writeFile(t, file, "auth:\n  join: ['other']\ninstances: [{id: declared, type: relay}]\n")
	s.hangup(t)
	with("/socket/closed/websocket?vsn=2.0.0"+tokenParam, "other", `"ok"`)
	with("/socket/declared/websocket?vsn=2.0.0"+tokenParam, "room:1", "unauthorized")
}

func TestInstanceAuth(t *testing.T) {
	s := start(t)
	if status, text := s.call(t, "POST", "/api/instances", `{"id":"x","type":"relay","auth":{"keys":[{"alg":"HS256","secret":"short"}]}}`); status != 422 || !strings.Contains(text, "/auth/keys/0/secret") {
		t.Errorf("a short secret: %d %s", status, text)
	}
	_, secret, _ := strings.Cut(authSecret, "=")
	spec := `{"id":"a","type":"relay","auth":{"keys":[{"alg":"HS256","secret":"` + secret + `"}],"join":["room:*"],"leeway":"1s"}}`
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/api/instances", spec}, {"GET", "/api/instances/a", ""}, {"GET", "/api/instances", ""}, {"PATCH", "/api/instances/a", `{"labels":{"x":"y"}}`},
	} {
		status, text := s.call(t, c.method, c.path, c.body)
		if status >= 300 || strings.Contains(text, "s3cr3t") || !strings.Contains(text, `"secret":"***"`) || !strings.Contains(text, `"leeway":"1s"`) {
			t.Errorf("%s %s: %d %s", c.method, c.path, status, text)
		}
	}
	target := "/socket/a/websocket?vsn=2.0.0"
	var refused *wstest.StatusError
	if _, err := wstest.Dial(s.addr, target, nil); !errors.As(err, &refused) || refused.Status != http.StatusForbidden {
		t.Errorf("without a token: %v", err)
	}
	client, err := wstest.Dial(s.addr, target+"&token="+token(t, []string{authSecret}, "sign", "--sub=ada"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Drop()
	for topic, want := range map[string]string{"room:1": `"ok"`, "other": "unauthorized"} {
		if reply := tryJoin(t, client, 1, topic); !strings.Contains(reply, want) {
			t.Errorf("%s: %s", topic, reply)
		}
	}
	if strings.Contains(s.log.String(), "s3cr3t") {
		t.Errorf("%s", s.log)
	}
}
