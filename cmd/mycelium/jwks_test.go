package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/httpapi"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// silentProvider accepts requests for keys and never answers.
func silentProvider(t *testing.T) string {
	t.Helper()
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(release) })
	return strings.TrimPrefix(server.URL, "http://")
}

// caller calls the API of a server with a key.
type caller struct {
	t    *testing.T
	addr string
	key  string
}

func (c caller) call(method, path, body string) (status int, answer string) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, "http://"+c.addr+httpapi.Prefix+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+c.key)
	if r.Header.Set("Content-Type", "application/json"); method == http.MethodPatch {
		r.Header.Set("Content-Type", "application/merge-patch+json")
		r.Header.Set("If-Match", "*")
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// withKey returns the lines of a configuration with an API key, and the key.
func withKey(t *testing.T) (lines, secret string) {
	t.Helper()
	secret, key := httpapi.NewKey("test", []httpapi.Scope{httpapi.Admin}, nil)
	text, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	return "api: {private_jwks: true, keys: [" + string(text) + "]}\n", secret
}

// TestSilentProviders: servers of keys that never answer hold up neither the
// start, nor other instances, nor the API, and the secrets in their addresses
// are shown to nobody.
// It takes 5 s, which is how long a connect waits for a key.
func TestSilentProviders(t *testing.T) {
	t.Parallel()
	provider := silentProvider(t)
	urls := make([]string, 16)
	for i := range urls {
		urls[i] = fmt.Sprintf(`"http://ada:hush@%s/keys%d?apikey=hush"`, provider, i)
	}
	auth := `{"jwks":{"urls":[` + strings.Join(urls, ",") + `],"timeout":"1m"},"join":["*"]}`
	lines, secret := withKey(t)
	file := filepath.Join(t.TempDir(), "c.yaml")
	writeFile(t, file, lines+"instances:\n  - {id: waits, type: relay, auth: "+auth+"}\n  - {id: free, type: relay, auth: {anybody: true}}\n")
	began := time.Now()
	s := start(t, "serve", "--config="+file, "--auth-jwks=http://ada:hush@"+provider+"/keys?apikey=hush", "--auth-join=*", "--log-level=debug")
	c, err := wstest.Dial(s.addr, "/socket/free/websocket?vsn=2.0.0", nil)
	if err != nil {
		t.Fatal(err)
	}
	if reply := tryJoin(t, c, 1, "a"); !strings.Contains(reply, `"ok"`) {
		t.Errorf("an instance without keys: %s", reply)
	}
	_ = c.Drop()
	api := caller{t, s.addr, secret}
	if status, answer := api.call(http.MethodPost, "/instances", `{"id":"made","type":"relay","auth":`+auth+`}`); status != http.StatusCreated || strings.Contains(answer, "hush") {
		t.Errorf("POST: %d %s", status, answer)
	}
	if status, answer := api.call(http.MethodPatch, "/instances/made", `{"labels":{"a":"b"}}`); status != http.StatusOK || strings.Contains(answer, "hush") {
		t.Errorf("PATCH: %d %s", status, answer)
	}
	for _, path := range []string{"/instances", "/instances/made", "/instances/waits"} {
		status, answer := api.call(http.MethodGet, path, "")
		if status != http.StatusOK || strings.Contains(answer, "hush") || !strings.Contains(answer, `http://ada:***@`+provider+`/keys7?apikey=***`) {
			t.Errorf("GET %s: %d %s", path, status, answer)
		}
	}
	// What is shown cannot be written back by mistake.
	shown := strings.ReplaceAll(auth, "hush", "***")
	if status, answer := api.call(http.MethodPatch, "/instances/made", `{"auth":`+shown+`}`); status != http.StatusUnprocessableEntity || !strings.Contains(answer, "/auth/jwks/urls/0") {
		t.Errorf("PATCH with what is shown: %d %s", status, answer)
	}
	if took := time.Since(began); took > 50*time.Second { // one timeout is a minute
		t.Errorf("all that took %v", took)
	}
	// A token that may be good is to come again.
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.addr+"/socket/waits/websocket?vsn=2.0.0&token=eyJhbGciOiJFUzI1NiIsImtpZCI6IjEifQ.e30.AAAA", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="} {
		r.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if response.Body.Close(); response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
		t.Errorf("a token that waits for keys: %d %v", response.StatusCode, response.Header)
	}
	http.DefaultClient.CloseIdleConnections()
	s.stop()
	if log := s.log.String(); strings.Contains(log, "hush") || !strings.Contains(log, `"reason":"no keys"`) {
		t.Errorf("the log:\n%s", log)
	}
}

// TestLimitsAboveTheServers: every way to ask for more than the server allows.
func TestLimitsAboveTheServers(t *testing.T) {
	lines, secret := withKey(t)
	file := filepath.Join(t.TempDir(), "c.yaml")
	writeFile(t, file, lines+"limits: {max_connections: 1000}\n")
	s := start(t, "serve", "--config="+file)
	api := caller{t, s.addr, secret}
	for limits, want := range map[string]string{
		`{"max_message":1099511627776}`: `"/limits/max_message"`,
		`{"max_connections":1001}`:      `"/limits/max_connections"`,
		`{"joins_per_second":201}`:      `"/limits/joins_per_second"`,
	} {
		if status, answer := api.call(http.MethodPost, "/instances", `{"id":"a","type":"relay","limits":`+limits+`}`); status != http.StatusUnprocessableEntity ||
			!strings.Contains(answer, want) || !strings.Contains(answer, "this server allows at most") {
			t.Errorf("%s: %d %s", limits, status, answer)
		}
	}
	// A reload may raise a limit and declare an instance that uses it, and not one that goes above it.
	writeFile(t, file, lines+"limits: {max_connections: 5000}\ninstances: [{id: b, type: relay, limits: {max_connections: 4000}}]\n")
	if said := fmt.Sprint(s.hangup(t)); !strings.Contains(said, "configuration reloaded") {
		t.Error(said)
	}
	writeFile(t, file, lines+"limits: {max_connections: 3000}\ninstances: [{id: b, type: relay, limits: {max_connections: 4000}}]\n")
	if said := fmt.Sprint(s.hangup(t)); !strings.Contains(said, "c.yaml:3: instances[0].limits.max_connections is 4000: this server allows at most 3000") {
		t.Error(said)
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestEmptiedStore: a server does not begin anew where its instances are gone.
func TestEmptiedStore(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "instances.db"), "")
	var stderr bytes.Buffer
	code := run(t.Context(), []string{"serve", "--listen=127.0.0.1:0", "--data=" + dir}, nil, io.Discard, &stderr)
	if code != 2 || !strings.Contains(stderr.String(), "is empty: restore it from a copy, or remove it to begin without instances") {
		t.Errorf("exit %d: %s", code, &stderr)
	}
}
