//go:build unix

package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/httpapi"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// command runs mycelium in the environment of a server's user.
func (s *server) command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, problems bytes.Buffer
	code = run(t.Context(), args, append([]string{"MYCELIUM_SERVER=http://" + s.addr}, s.environ...), &out, &problems)
	return code, out.String(), problems.String()
}

// A server without configured keys: nobody has rights by where they are, and
// the commands of its user find its key.
func TestOwnKey(t *testing.T) {
	s := start(t)
	for _, path := range []string{"/api/types", "/api/instances", "/metrics"} {
		if status, text := get(t, "http://"+s.addr+path); status != http.StatusUnauthorized {
			t.Errorf("%s from this machine: %d %s", path, status, text)
		}
	}
	if status, text := get(t, "http://"+s.addr+"/api/types"); !strings.Contains(text, `\"mycelium key show\" prints the current one`) {
		t.Errorf("no way to a key: %d %s", status, text)
	}
	if _, err := wstest.Dial(s.addr, "/observer/socket/websocket?vsn=2.0.0", nil); !isRefused(err) {
		t.Errorf("the observer without a key: %v", err)
	}
	code, key, stderr := s.command(t, "key", "show")
	if key = strings.TrimSpace(key); code != 0 || !strings.HasPrefix(key, "mk_") {
		t.Fatalf("key show: %d %q %s", code, key, stderr)
	}
	if status, text := get(t, "http://"+s.addr+"/api/instances", "Authorization", "Bearer "+key, "X-Forwarded-For", "192.0.2.1"); status != http.StatusOK {
		t.Errorf("with the key: %d %s", status, text)
	}
	if code, out, stderr := s.command(t, "instances", "list"); code != 0 || !strings.Contains(out, "default") {
		t.Errorf("instances list: %d %s%s", code, out, stderr)
	}
	if err := observe(t, s, key).Drop(); err != nil {
		t.Error(err)
	}

	dir := filepath.Join(strings.TrimPrefix(s.environ[0], "XDG_RUNTIME_DIR="), "mycelium")
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	if info, err := files[0].Info(); err != nil || info.Mode() != 0o600 {
		t.Errorf("the file has mode %v, %v", info.Mode(), err)
	}
	if log := s.log.String(); strings.Contains(log, key) || !strings.Contains(log, filepath.Join(dir, files[0].Name())) {
		t.Errorf("the log has the key, or does not name its file:\n%s", log)
	}
	s.stop()
	if files, err = os.ReadDir(dir); err != nil || len(files) != 0 {
		t.Errorf("still there at the end: %v, %v", files, err)
	}
	if code, _, stderr := s.command(t, "key", "show"); code != 1 || !strings.Contains(stderr, "no server of this user has saved a key for http://"+s.addr) {
		t.Errorf("key show afterwards: %d %s", code, stderr)
	}
}

func isRefused(err error) bool {
	var refused *wstest.StatusError
	return errors.As(err, &refused) && refused.Status == http.StatusForbidden
}

// observe opens the observer's socket with a key, and joins.
func observe(t *testing.T, s *server, key string) *wstest.Client {
	t.Helper()
	c, err := wstest.Dial(s.addr, "/observer/socket/websocket?vsn=2.0.0", http.Header{
		"Sec-Websocket-Protocol": {"phoenix, base64url.bearer.phx." + base64.RawURLEncoding.EncodeToString([]byte(key))},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Drop() })
	if reply := tryJoin(t, c, 1, "observer"); !strings.Contains(reply, `"ok"`) {
		t.Fatalf("joining the observer: %s", reply)
	}
	return c
}

// What a key has opened closes with it: the server's own when the configuration
// gets keys, and a configured one that is taken out.
func TestKeysChangeByReload(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	writeFile(t, file, "loops: 1\n")
	s := start(t, "--config="+file)
	own := s.key(t)
	byOwn := observe(t, s, own)

	first, key := httpapi.NewKey("first", []httpapi.Scope{httpapi.Read}, nil)
	second, other := httpapi.NewKey("second", []httpapi.Scope{httpapi.Read}, nil)
	lines := func(keys ...httpapi.Key) string {
		text := "loops: 1\napi:\n  keys:\n"
		for _, k := range keys {
			text += fmt.Sprintf("    - {name: %s, hash: %q, scopes: [read]}\n", k.Name, k.Hash)
		}
		return text
	}
	writeFile(t, file, lines(key, other))
	s.hangup(t)
	closedWith(t, byOwn, 1001)
	if status, _ := get(t, "http://"+s.addr+"/api/types", "Authorization", "Bearer "+own); status != http.StatusUnauthorized {
		t.Errorf("the own key beside configured ones: %d", status)
	}
	if code, out, _ := s.command(t, "key", "show"); code != 1 {
		t.Errorf("the own key is still shown: %s", out)
	}
	byFirst, bySecond := observe(t, s, first), observe(t, s, second)

	writeFile(t, file, lines(other))
	s.hangup(t)
	closedWith(t, byFirst, 1001)
	expect(t, bySecond, `"sample"`)

	writeFile(t, file, "loops: 1\n")
	s.hangup(t)
	closedWith(t, bySecond, 1001)
	if again := s.key(t); again == own {
		t.Error("an earlier key of its own counts again")
	}
	if status, text := s.call(t, "GET", "/api/types", ""); status != http.StatusOK {
		t.Errorf("with the new key: %d %s", status, text)
	}
}

// Where a key cannot be saved anywhere the server serves, says so, and lets nobody
// in.
func TestOwnKeyNowhere(t *testing.T) {
	shared := t.TempDir()
	if err := os.Chmod(shared, 0o777); err != nil { //nolint:gosec // as others' directories are
		t.Fatal(err)
	}
	if err := os.Symlink(t.TempDir(), filepath.Join(shared, "mycelium")); err != nil {
		t.Fatal(err)
	}
	for _, environ := range [][]string{{"XDG_RUNTIME_DIR="}, {"XDG_RUNTIME_DIR=/dev/null"}, {"XDG_RUNTIME_DIR=" + shared}} {
		s := startBare(t, environ)
		if log := s.log.String(); !strings.Contains(log, "cannot be saved anywhere") || strings.Contains(log, "mk_") {
			t.Errorf("%v: the log says\n%s", environ, log)
		}
		if status, _ := get(t, "http://"+s.addr+"/api/types"); status != http.StatusUnauthorized {
			t.Errorf("%v: %d", environ, status)
		}
		s.stop()
	}
}

// Commands do not look in the directory of the data, so the log does not refer to them.
func TestOwnKeyAmongTheData(t *testing.T) {
	data := t.TempDir()
	s := startBare(t, nil, "--data="+data)
	log := s.log.String()
	if !strings.Contains(log, data) || !strings.Contains(log, "for MYCELIUM_KEY") || strings.Contains(log, "key show") {
		t.Errorf("the log says\n%s", log)
	}
	if code, out, _ := s.command(t, "key", "show"); code == 0 {
		t.Errorf("commands do find it: %s", out)
	}
}

// A server whose port is taken leaves the other's key alone.
func TestOwnKeyOfTheOther(t *testing.T) {
	s := start(t)
	before := s.key(t)
	if code := run(t.Context(), []string{"--listen=" + s.addr}, s.environ, io.Discard, io.Discard); code != 1 {
		t.Fatalf("exit %d", code)
	}
	if after := s.key(t); after != before {
		t.Error("the key is another")
	}
}

// Whoever has no key, or one of an earlier run, is told where it was looked for.
func TestInstancesWithoutKey(t *testing.T) {
	s := start(t)
	s.environ = []string{"XDG_RUNTIME_DIR=" + t.TempDir()}
	if code, _, stderr := s.command(t, "instances", "list"); code != 1 || !strings.Contains(stderr, "A key is needed") || !strings.Contains(stderr, "no server of this user has saved a key") {
		t.Errorf("%d %s", code, stderr)
	}
	if code, _, stderr := s.command(t, "key", "show", "a", "b"); code != 2 || !strings.Contains(stderr, "usage: mycelium key show [ADDRESS]") {
		t.Errorf("%d %s", code, stderr)
	}
	for address, whole := range map[string]string{":4999": "http://localhost:4999", "localhost:4999": "http://localhost:4999", "[::1]:4999": "http://[::1]:4999"} {
		if code, _, stderr := s.command(t, "key", "show", address); code != 1 || !strings.Contains(stderr, "has saved a key for "+whole+" in ") {
			t.Errorf("%s: %d %s", address, code, stderr)
		}
	}
	if code, _, stderr := s.command(t, "key", "show", "https://rt.example.com"); code != 1 || !strings.Contains(stderr, "may not be on this machine") {
		t.Errorf("of another machine: %d %s", code, stderr)
	}
}
