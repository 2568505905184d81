package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
)

func openRevocations(t testing.TB, o RevocationOptions) *Revocations {
	t.Helper()
	r, err := OpenRevocations(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
	return r
}

func revoke(t testing.TB, r *Revocations, space string, v Revocation) {
	t.Helper()
	if v.Expires.IsZero() {
		v.Expires = time.Now().Add(time.Hour)
	}
	if _, err := r.Revoke(space, v); err != nil {
		t.Fatal(err)
	}
}

// Who was put out stays out: open sockets close, and the tokens are refused until the
// revocation ends. Others, newer tokens and other spaces are not concerned.
func TestRevoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openDoor(t, hmacOptions(Options{Join: []string{"*"}}), rooms()...)
		r := openRevocations(t, RevocationOptions{Changed: func([]string) { d.CloseIf(CloseRevoked, "token revoked", Revoked) }})
		v := d.verifier.With(r, "here")
		d.Socket("/revocable", v.Protect(channels.SocketOptions{IdleTimeout: -1}), rooms()...)
		connect := func(token string) error {
			c, err := channelstest.TryConnect(t, d.Endpoint, "/revocable?token="+token, nil)
			if err == nil {
				c.Close()
			}
			return err
		}
		now := time.Now()
		token := func(sub, id string, issued time.Time) string {
			return hs(t, claims{"sub": sub, "jti": id, "iat": issued.Unix(), "exp": now.Add(24 * time.Hour).Unix()})
		}
		old, other := token("ada", "1", now.Add(-time.Minute)), token("ada", "2", now.Add(-time.Minute))
		bobs := token("bob", "3", now.Add(-time.Minute))
		first, second := channelstest.Connect(t, d.Endpoint, "/revocable?token="+old), channelstest.Connect(t, d.Endpoint, "/revocable?token="+other)
		bob := channelstest.Connect(t, d.Endpoint, "/revocable?token="+bobs)
		joined := bob.Join("room:1", nil)

		revoke(t, r, "elsewhere", Revocation{User: "ada", IssuedBefore: now})
		revoke(t, r, "here", Revocation{ID: "1"})
		first.AssertClosed(CloseRevoked)
		if connect(old) == nil || connect(other) != nil {
			t.Error("one token revoked: it or another one of the user is wrong")
		}
		revoke(t, r, "here", Revocation{User: "ada", IssuedBefore: now, Expires: now.Add(2 * time.Hour)})
		second.AssertClosed(CloseRevoked)
		without := hs(t, claims{"sub": "ada", "exp": now.Add(24 * time.Hour).Unix()})
		for _, refused := range []string{old, other, without} {
			if connect(refused) == nil {
				t.Error("a user's token is accepted although it was revoked")
			}
		}
		if err := connect(token("ada", "4", now.Add(time.Second))); err != nil {
			t.Errorf("a newer token: %v", err)
		}
		joined.Push("hi", nil).AssertReply("error", unauthorized) // no publish, but the socket is there
		d.log.await(t, `"reason":"revoked"`)

		// A renewal with a revoked token leaves the old one in force.
		joined.Push(AccessTokenEvent, map[string]string{"access_token": hs(t, claims{"sub": "bob", "jti": "1"})}).AssertReply("error", unauthorized)
		time.Sleep(time.Hour + time.Second)
		if connect(old) == nil || connect(other) == nil {
			t.Error("the revocation of a user ends with that of a token")
		}
		time.Sleep(time.Hour)
		if err := connect(old); err != nil {
			t.Errorf("after the revocations have ended: %v", err)
		}
		if list, _ := r.List("here", "", 10); len(list) != 0 {
			t.Errorf("%v are left", list)
		}
	})
}

// A token that is revoked while its client connects does not get in.
func TestRevokedWhileConnecting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openDoor(t, hmacOptions(Options{}), rooms()...)
		r := openRevocations(t, RevocationOptions{})
		v := d.verifier.With(r, "")
		o := v.Protect(channels.SocketOptions{IdleTimeout: -1})
		verified := o.Connect
		o.ConnectOnLoop = false
		o.Connect = func(ctx context.Context, s *channels.Socket, req *channels.Request) error {
			err := verified(ctx, s, req)
			revoke(t, r, "", Revocation{ID: "1"})
			return err
		}
		d.Socket("/slow", o, rooms()...)
		channelstest.Connect(t, d.Endpoint, "/slow?token="+hs(t, claims{"jti": "1"})).AssertClosed(CloseRevoked)
	})
}

func TestRevocationsAreBounded(t *testing.T) {
	now := time.Unix(1_900_000_000, 0)
	r := openRevocations(t, RevocationOptions{Max: 3, Now: func() time.Time { return now }})
	for i := range 3 {
		revoke(t, r, "a", Revocation{ID: fmt.Sprint(i), Expires: now.Add(time.Duration(i+1) * time.Minute)})
	}
	if _, err := r.Revoke("b", Revocation{ID: "4", Expires: now.Add(time.Hour)}); !errors.Is(err, ErrRevocations) {
		t.Errorf("one more than permitted: %v", err)
	}
	revoke(t, r, "a", Revocation{ID: "0", Expires: now.Add(time.Second)}) // not shorter than before
	now = now.Add(61 * time.Second)
	revoke(t, r, "b", Revocation{ID: "4", Expires: now.Add(time.Hour)})
	for _, v := range []Revocation{{}, {ID: "1", User: "a", Expires: now.Add(1)}, {ID: "1", Expires: now}, {ID: strings.Repeat("x", 1025), Expires: now.Add(1)}} {
		if _, err := r.Revoke("a", v); !errors.Is(err, ErrRevocation) {
			t.Errorf("%+v: %v", v, err)
		}
	}
	page, next := r.List("a", "", 1)
	if len(page) != 1 || page[0].ID != "1" || next == "" {
		t.Errorf("the first page: %v, %q", page, next)
	}
	if page, next = r.List("a", next, 1); len(page) != 1 || page[0].ID != "2" || next != "" {
		t.Errorf("the last page: %v, %q", page, next)
	}
}

// What was revoked stays so over a restart, unless it has ended, and whatever a crash has
// left of the last line.
func TestRevocationFile(t *testing.T) {
	now := time.Unix(1_900_000_000, 0)
	file := filepath.Join(t.TempDir(), "revocations")
	o := RevocationOptions{File: file, Now: func() time.Time { return now }}
	r := openRevocations(t, o)
	revoke(t, r, "a", Revocation{ID: "short", Expires: now.Add(time.Minute)})
	for i := range 50 {
		revoke(t, r, "a", Revocation{User: fmt.Sprintf("user\n%d", i), IssuedBefore: now, Expires: now.Add(time.Hour)})
	}
	r.Learn(7, []SpacedRevocation{{"b", Revocation{ID: "learned", Expires: now.Add(time.Hour)}}})
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(text, `{"space":"a","jti":"to`...), 0o600); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * time.Minute)
	for range 2 {
		r = openRevocations(t, o)
		users, _ := r.List("a", "", 100)
		learned, _ := r.List("b", "", 100)
		if len(users) != 50 || users[0].IssuedBefore.Unix() != 1_900_000_000 || len(learned) != 1 {
			t.Fatalf("after a restart: %v and %v", users, learned)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file, []byte("{\"space\":\"a\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenRevocations(o); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("a broken line: %v", err)
	}
}

// TestRevokeForEver: times that JSON does not have in UTC are replaced by the nearest that it
// has, so that what is revoked can be stored and told to others.
func TestRevokeForEver(t *testing.T) {
	r := openRevocations(t, RevocationOptions{File: filepath.Join(t.TempDir(), "revoked")})
	r.Share(func(list []SpacedRevocation) {
		if _, err := json.Marshal(list); err != nil {
			t.Error(err)
		}
	})
	var asked Revocation
	text := `{"user":"ada","issued_before":"0000-01-01T00:00:00+01:00","expires":"9999-12-31T23:59:59-01:00"}`
	if err := json.Unmarshal([]byte(text), &asked); err != nil {
		t.Fatal(err)
	}
	v, err := r.Revoke("here", asked)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(v)
	if want := `{"user":"ada","issued_before":"0000-01-01T00:00:00Z","expires":"9999-12-31T23:59:59Z"}`; err != nil || string(got) != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
}

// A node that may keep fewer revocations than its file has accepts none of the tokens again.
func TestRevocationFileAboveMax(t *testing.T) {
	o := RevocationOptions{File: filepath.Join(t.TempDir(), "revocations")}
	const many = 10
	r := openRevocations(t, o)
	for i := range many {
		revoke(t, r, "here", Revocation{User: fmt.Sprint("user ", i), IssuedBefore: time.Now()})
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	o.Max = 1
	r = openRevocations(t, o)
	for i := range many {
		if user := fmt.Sprint("user ", i); !r.CoversUser("here", user, time.Now().Add(-time.Minute)) {
			t.Errorf("the tokens of %s are accepted again", user)
		}
	}
	if _, err := r.Revoke("here", Revocation{User: "another", Expires: time.Now().Add(time.Hour)}); !errors.Is(err, ErrRevocations) {
		t.Errorf("one more: %v, want %v", err, ErrRevocations)
	}
}
