package config

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestReloaded(t *testing.T) {
	const tls, acme = "--tls-cert=c --tls-key=k", "--listen=:443 --tls-acme-cache=d --tls-acme-hosts=a.example"
	for _, c := range []struct{ before, next, live, restart, result string }{
		{},
		{before: "--loops=2", next: "--loops=2", result: "--loops=2"},
		{
			next: "--loops=2 --log-level=debug --listen=:1 --presence-off=a --limits-messages-per-second=1",
			live: "log.level limits.messages_per_second presence.off", restart: "listen loops",
			result: "--log-level=debug --presence-off=a --limits-messages-per-second=1",
		},
		{before: "--path=/a --topics=a", next: "--path=/b", live: "topics", restart: "path", result: "--path=/a"},
		{next: "--check-origin=//a", live: "check_origin", result: "--check-origin=//a"},
		{before: tls, next: "--tls-cert=d --tls-key=l", live: "tls.cert tls.key", result: "--tls-cert=d --tls-key=l"},
		{next: tls, restart: "tls.cert tls.key"},
		{before: tls, restart: "tls.cert tls.key", result: tls},
		{before: tls, next: tls + " --tls-client-ca=ca", live: "tls.client_ca", result: tls + " --tls-client-ca=ca"},
		{before: tls + " --listen=:443", next: acme, restart: "tls.cert tls.key tls.acme_hosts tls.acme_cache", result: tls + " --listen=:443"},
		{before: acme, next: acme + ",b.example --tls-client-ca=ca", live: "tls.client_ca", restart: "tls.acme_hosts", result: acme + " --tls-client-ca=ca"},
	} {
		got, change, err := load(t, strings.Fields(c.before), nil).Reloaded(load(t, strings.Fields(c.next), nil))
		if err != nil {
			t.Errorf("%q to %q: %v", c.before, c.next, err)
			continue
		}
		if live, restart := strings.Join(change.Live, " "), strings.Join(change.Restart, " "); live != c.live || restart != c.restart {
			t.Errorf("%q to %q: live %q, restart %q; want %q, %q", c.before, c.next, live, restart, c.live, c.restart)
		}
		want := load(t, strings.Fields(c.result), nil)
		got.origins, want.origins = nil, nil
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q to %q\n%+v\nwant\n%+v", c.before, c.next, got, want)
		}
	}
}

// TestReloadedDoesNotFit: the new value of one option needs that of another,
// which does not change yet.
func TestReloadedDoesNotFit(t *testing.T) {
	before, next := load(t, nil, nil), load(t, []string{"--limits-max-message=8MiB", "--limits-outbound-bytes=16MiB"}, nil)
	got, _, err := before.Reloaded(next)
	var wrong *Error
	if got != nil || !errors.As(err, &wrong) {
		t.Fatalf("%+v, %v; want an *Error", got, err)
	}
	wantProblems(t, wrong.Problems,
		"limits.outbound_bytes is 4194304 and cannot hold a message of limits.max_message, which is 8388608; it takes at least 8388672 here, or a smaller limits.max_message",
		"limits.outbound_bytes changes with a restart only; until then it is the old value that counts")
	if !reflect.DeepEqual(before, load(t, nil, nil)) {
		t.Error("the configuration that runs was changed")
	}
}
