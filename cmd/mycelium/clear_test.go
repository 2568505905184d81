//go:build unix

package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// A port with TLS: by default what carries secrets is refused in the clear, and
// pages are sent to https.
func TestClear(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certify(t, cert, key, 1)
	type answers struct{ page, observer, api, metrics, poll, socket int }
	for name, want := range map[string]answers{
		"":         {308, 308, 403, 403, 403, 403},
		"redirect": {308, 308, 403, 403, 403, 403},
		"refuse":   {403, 403, 403, 403, 403, 403},
		"allow":    {200, 200, 200, 200, 200, 101},
	} {
		args := []string{"--tls-cert=" + cert, "--tls-key=" + key}
		if name != "" {
			args = append(args, "--tls-clear="+name)
		}
		s := start(t, args...)
		withKey := "Bearer " + s.key(t)
		status := func(path, authorization string) int {
			t.Helper()
			code, _ := s.answer(t, "http", path, authorization)
			return code
		}
		got := answers{
			page: status("/", ""), observer: status("/observer", ""), api: status("/api/instances", withKey), metrics: status("/metrics", withKey),
			poll: status("/socket/longpoll?vsn=2.0.0&token=secret", ""), socket: s.upgrade("&token=secret"),
		}
		if got != want {
			t.Errorf("%q: %+v, want %+v", name, got, want)
		}
		if code, _ := s.answer(t, "https", "/api/instances", withKey); code != 200 {
			t.Errorf("%q: over TLS %d", name, code)
		}
		if code, to := s.answer(t, "http", "/observer?x=1", ""); code == 308 && to != fmt.Sprintf("https://%s/observer?x=1", s.addr) {
			t.Errorf("%q: redirected to %s", name, to)
		}
		if code, _ := s.answer(t, "http", "/api/instances", "Bearer "+strings.Repeat("x", 10)); name != "allow" && code != 403 {
			t.Errorf("%q: a wrong key in the clear: %d", name, code)
		}
	}
}

// answer asks on a connection of its own, and follows no redirect.
func (s *server) answer(t *testing.T, scheme, path, authorization string) (status int, location string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, scheme+"://"+s.addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, //nolint:gosec // the test's own
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       patience,
	}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode, response.Header.Get("Location")
}

// upgrade is the status of a handshake in the clear.
func (s *server) upgrade(query string) int {
	c, err := wstest.Dial(s.addr, "/socket/websocket?vsn=2.0.0"+query, nil)
	var refused *wstest.StatusError
	switch {
	case err == nil:
		_ = c.Drop()
		return http.StatusSwitchingProtocols
	case errors.As(err, &refused):
		return refused.Status
	}
	return 0
}
