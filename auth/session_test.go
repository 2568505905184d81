package auth

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
)

// rooms has channels that run on goroutines and on the loop; both relay.
func rooms() []*channels.Channel {
	var list []*channels.Channel
	for _, pattern := range []string{"room:*", "user:*", "loop:*"} {
		ch := channels.Handle(pattern, func(c *channels.Context, _ channels.Payload) (channels.NoReply, error) {
			return channels.NoReply{}, nil
		})
		ch.OnAny(func(c *channels.Context, event string, p channels.Payload) (channels.Reply, error) {
			return channels.Reply{Status: "ok"}, c.Relay(event, p)
		})
		if pattern == "loop:*" {
			ch.OnLoop()
		}
		list = append(list, ch)
	}
	return list
}

// hmacOptions are Options with the secret of the tests.
func hmacOptions(o Options) Options {
	o.Keys = []Key{{Algorithm: "HS256", Secret: secret}}
	return o
}

func hs(t testing.TB, c claims) string {
	t.Helper()
	if _, ok := c["exp"]; !ok {
		c["exp"] = soon()
	}
	return sign(t, "HS256", []byte(secret), nil, c)
}

func (d *door) connect(t testing.TB, token string) *channelstest.Client {
	t.Helper()
	return channelstest.Connect(t, d.Endpoint, "/socket?token="+token)
}

type object = map[string]any

var unauthorized = object{"reason": "unauthorized"}

func assertJoins(t testing.TB, c *channelstest.Client, may map[string]bool) {
	t.Helper()
	for topic, want := range may {
		_, reply := c.TryJoin(topic, nil)
		got := reply.Status + string(reply.Response)
		if expected := map[bool]string{true: "ok{}", false: `error{"reason":"unauthorized"}`}[want]; got != expected {
			t.Errorf("joining %s: %s, want %s", topic, got, expected)
		}
	}
}

func TestTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openDoor(t, hmacOptions(Options{
			SocketID: "users_socket:{sub}", Assigns: map[string]string{"team": "team.name", "none": "missing"},
			Join: []string{"room:lobby", "user:{sub}"}, Publish: []string{"user:{sub}"},
		}), rooms()...)
		plain := d.connect(t, hs(t, claims{"sub": "ada"}))
		assertJoins(t, plain, map[string]bool{
			"room:lobby": true, "room:lobby2": false, "user:ada": true, "user:ada2": false, "user:": false, "user:bob": false, "room:1": false, "loop:1": false,
		})
		c := d.connect(t, hs(t, claims{"sub": "bob", "channels": claims{
			"join": []string{"room:*", "loop:{sub}:*"}, "publish": []string{"room:1", "loop:*"},
		}}))
		assertJoins(t, c, map[string]bool{"room:9": true, "user:bob": true, "user:ada": false, "loop:bob:": true, "loop:bob": false, "loop:ada:": false})
		for topic, may := range map[string]bool{"room:1": true, "room:2": false, "loop:bob:x": true, "user:bob": true, "room:lobby": false} {
			push := c.Join(topic, nil).Push("new_msg", object{"a": 1})
			if may {
				push.AssertReply("ok", nil)
				push.Channel().AssertBroadcast("new_msg", object{"a": 1})
			} else {
				push.AssertReply("error", unauthorized)
			}
		}
		// What may not be pushed may still be left, and heartbeats are nobody's topic.
		c.Join("room:2", nil).Leave()
		c.Join("room:1", nil).Push(ExpiringEvent, object{"expires_in": 1}).AssertReply("error", unauthorized)
	})
}

// A token that is limited to topics permits no other, whoever else does.
func TestOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openDoor(t, hmacOptions(Options{Join: []string{"room:*"}, Publish: []string{"*"}}), rooms()...)
		for _, test := range []struct {
			only any
			may  map[string]bool
		}{
			{"room:1", map[string]bool{"room:1": true, "room:12": false, "user:ada": false}},
			{[]string{"room:{sub}:*", "user:*"}, map[string]bool{"room:ada:1": true, "room:bob:1": false, "user:ada": true, "loop:1": false}},
			{[]string{}, map[string]bool{"room:1": false, "user:ada": false}},
			{nil, map[string]bool{"room:1": true, "user:ada": true, "loop:1": false}},
		} {
			token := hs(t, claims{"sub": "ada", "channels": claims{"join": []string{"user:*"}, "only": test.only}})
			assertJoins(t, d.connect(t, token), test.may)
			valid, err := d.verifier.Verify(t.Context(), token)
			if err != nil {
				t.Fatal(err)
			}
			for topic, may := range test.may {
				if valid.MayJoin(topic) != may {
					t.Errorf("limited to %v: MayJoin(%s) is %t", test.only, topic, !may)
				}
			}
		}
		for _, wrong := range []any{7, claims{}, []any{1}, "a*b"} {
			d.assertRefused(t, fmt.Sprint(wrong), hs(t, claims{"channels": claims{"only": wrong}}), Malformed)
		}
		// A renewal with a token for fewer topics takes effect at once.
		c := d.connect(t, hs(t, claims{"sub": "ada"}))
		one, two := c.Join("room:1", nil), c.Join("room:2", nil)
		one.Push(AccessTokenEvent, object{"access_token": hs(t, claims{"sub": "ada", "channels": claims{"only": "room:1"}})}).AssertReply("ok", nil)
		two.AssertClose()
		one.Push("hi", nil).AssertReply("ok", nil)
	})
}

// The value of a claim is text, whatever is in it: a user who calls himself *
// is not everybody.
func TestClaimsAreNoPatterns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openDoor(t, hmacOptions(Options{Join: []string{"user:{sub}", "room:{team}:{sub}"}}), rooms()...)
		c := d.connect(t, hs(t, claims{"sub": "*", "channels": claims{"join": []string{"loop:{sub}"}}}))
		assertJoins(t, c, map[string]bool{"user:*": true, "user:ada": false, "loop:*": true, "loop:1": false})
		c = d.connect(t, hs(t, claims{"sub": "{team}", "team": "x"}))
		assertJoins(t, c, map[string]bool{"user:{team}": true, "user:x": false, "room:x:{team}": true})
		c = d.connect(t, hs(t, claims{"sub": ""}))
		assertJoins(t, c, map[string]bool{"user:": false})
		c = d.connect(t, hs(t, claims{"sub": "a", "team": []string{"x"}}))
		assertJoins(t, c, map[string]bool{"room:x:a": false, "user:a": true})
	})
}

func TestIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got *channels.Socket
		d := &door{Endpoint: channelstest.Start(t, channels.Options{}), log: new(logBuffer)}
		v := newVerifier(t, hmacOptions(Options{
			SocketID: "users_socket:{sub}", Assigns: map[string]string{"team": "team.name", "none": "missing", "n": "n"}, Join: []string{"*"},
		}))
		d.Socket("/socket", v.Protect(channels.SocketOptions{Connect: func(_ context.Context, s *channels.Socket, r *channels.Request) error {
			got = s
			if r.Params.Get("refuse") != "" {
				return channels.Errorf("refused")
			}
			s.Assign("after", s.ID())
			return nil
		}}), rooms()...)
		c := d.connect(t, hs(t, claims{"sub": 9007199254740993, "team": claims{"name": "red"}, "n": 1.5}))
		for key, want := range map[string]string{"team": "red", "none": "<nil>", "n": "1.5", "after": "users_socket:9007199254740993"} {
			if v := fmt.Sprint(got.Get(key)); v != want {
				t.Errorf("assign %s is %s, want %s", key, v, want)
			}
		}
		all, _ := got.Get("claims").(Claims)
		if sub, _ := all.Text("sub"); sub != "9007199254740993" || len(Current(got)) != len(all) {
			t.Errorf("claims %v, current %v", all, Current(got))
		}
		if err := d.Disconnect("users_socket:9007199254740993"); err != nil {
			t.Fatal(err)
		}
		c.AssertClosed(1001)
		if err := d.tryConnect(t, hs(t, claims{"team": "x"})); err == nil {
			t.Error("connected without the claim that makes the id")
		}
		if err := d.tryConnect(t, hs(t, claims{"sub": "a"})+"&refuse=1"); err == nil {
			t.Error("connected though the application refuses")
		}
	})
}

// A client is warned, and warned again, and its socket ends with its token.
func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openDoor(t, hmacOptions(Options{Join: []string{"*"}, Leeway: -1}), rooms()...)
		start := time.Now()
		c := d.connect(t, hs(t, claims{"sub": "ada", "exp": start.Add(10 * time.Minute).Unix()}))
		room, loop := c.Join("room:1", nil), c.Join("loop:1", nil)
		wait := func(at time.Duration) {
			time.Sleep(time.Until(start.Add(at)))
			synctest.Wait()
		}
		wait(9*time.Minute - time.Second)
		room.RefutePush(ExpiringEvent, nil)
		for _, at := range []struct {
			at   time.Duration
			left int
		}{{9 * time.Minute, 60}, {9*time.Minute + 30*time.Second, 30}, {9*time.Minute + 45*time.Second, 15}, {9*time.Minute + 52500*time.Millisecond, 8}} {
			wait(at.at)
			room.AssertPush(ExpiringEvent, object{"expires_in": at.left})
			loop.AssertPush(ExpiringEvent, object{"expires_in": at.left})
		}
		wait(10*time.Minute - time.Millisecond)
		room.Push("x", nil).AssertReply("error", unauthorized)
		wait(10 * time.Minute)
		c.AssertClosed(CloseExpired)
	})
}

// Whoever connects with a token that ends soon can join before it is warned.
func TestExpiringAtConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openDoor(t, hmacOptions(Options{Join: []string{"*"}}), rooms()...)
		c := d.connect(t, hs(t, claims{"exp": time.Now().Unix() + 15}))
		c.Join("room:1", nil).AssertPush(ExpiringEvent, object{"expires_in": 19}) // with the leeway
		time.Sleep(21 * time.Second)
		c.AssertClosed(CloseExpired)

		quiet := openDoor(t, hmacOptions(Options{Join: []string{"*"}, Warning: -1}), rooms()...)
		c = quiet.connect(t, hs(t, claims{"exp": time.Now().Unix() + 30}))
		room := c.Join("room:1", nil)
		time.Sleep(36 * time.Second)
		c.AssertClosed(CloseExpired)
		room.RefutePush(ExpiringEvent, nil)
	})
}

func TestRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openDoor(t, hmacOptions(Options{SocketID: "u:{sub}", Join: []string{"room:*"}}), rooms()...)
		mine := func(in time.Duration, more claims) string {
			c := claims{"sub": "ada", "exp": time.Now().Add(in).Unix()}
			for k, v := range more {
				c[k] = v
			}
			return hs(t, c)
		}
		first := mine(2*time.Minute, claims{"channels": claims{"join": []string{"loop:*"}, "publish": []string{"room:1"}}})
		c := d.connect(t, first)
		room, loop := c.Join("room:1", nil), c.Join("loop:1", nil)
		room.Push("x", nil).AssertReply("ok", nil)
		time.Sleep(90 * time.Second)

		for name, bad := range map[string]struct {
			payload any
			want    Reason
		}{
			"somebody else's": {object{"access_token": hs(t, claims{"sub": "bob"})}, OtherSubject},
			"nobody's":        {object{"access_token": hs(t, claims{})}, MissingClaim},
			"expired":         {object{"access_token": mine(-time.Minute, nil)}, Expired},
			"forged":          {object{"access_token": first[:len(first)-4]}, BadSignature},
			"none":            {object{}, Missing},
			"null":            {object{"access_token": nil}, Missing},
			"a number":        {object{"access_token": 1}, Malformed},
			"bytes":           {channels.Binary{1, 2}, Malformed},
		} {
			d.log.Take()
			room.Push(AccessTokenEvent, bad.payload).AssertReply("error", unauthorized)
			if log := d.log.Take(); !strings.Contains(log, string(bad.want)) || strings.Contains(log, "eyJ") {
				t.Errorf("%s: %s", name, log)
			}
		}

		// The new token is not for the loop:* topics and publishes elsewhere.
		second := mine(time.Hour, claims{"channels": claims{"publish": []string{"room:2"}}})
		room.Push(AccessTokenEvent, object{"access_token": second}).AssertReply("ok", nil)
		room.Push(AccessTokenEvent, object{"access_token": second}).AssertReply("ok", nil)
		loop.AssertClose()
		room.Push("x", nil).AssertReply("error", unauthorized)
		c.Join("room:2", nil).Push("x", nil).AssertReply("ok", nil)
		time.Sleep(50 * time.Minute)
		room.RefutePush(AccessTokenEvent, nil) // it is not relayed
		room.Push(AccessTokenEvent, object{"access_token": mine(time.Minute, nil)}).AssertReply("ok", nil)
		time.Sleep(66 * time.Second) // a new token may end sooner, too
		c.AssertClosed(CloseExpired)
	})
}

// A socket stays its owner's: neither another subject nor another id takes it
// over.
func TestRenewalIsForTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, c := range map[string]struct {
			socketID   string
			first, new claims
		}{
			"another subject without ids": {"", claims{"sub": "ada"}, claims{"sub": "bob"}},
			"subject removed":             {"", claims{"sub": "ada"}, claims{}},
			"the same subject, other id":  {"u:{device}", claims{"sub": "ada", "device": 1}, claims{"sub": "ada", "device": 2}},
		} {
			d := openDoor(t, hmacOptions(Options{SocketID: c.socketID, Join: []string{"*"}}), rooms()...)
			room := d.connect(t, hs(t, c.first)).Join("room:1", nil)
			room.Push(AccessTokenEvent, object{"access_token": hs(t, c.new)}).AssertReply("error", unauthorized)
			if log := d.log.Take(); !strings.Contains(log, string(OtherSubject)) {
				t.Errorf("%s: %s", name, log)
			}
		}
	})
}

// Tokens that come at once, as realtime-js sends them on each channel, are
// verified one after the other, and not without end.
func TestRenewalsAreBounded(t *testing.T) {
	v := newVerifier(t, hmacOptions(Options{}))
	s := newSession(v, new(channels.Socket), &grant{})
	for range maxRenewals {
		if f, err := s.Event("room:1", []byte(AccessTokenEvent)); f == nil || err != nil {
			t.Fatal(err)
		}
	}
	if f, err := s.Event("room:1", []byte(AccessTokenEvent)); f != nil || err != errRenewals {
		t.Fatalf("%v, %v", f != nil, err)
	}
	if _, err := s.renew(nil, channels.Payload{}); err == nil {
		t.Error("renewed by nothing")
	}
	if f, err := s.Event("room:1", []byte(AccessTokenEvent)); f == nil || err != nil {
		t.Error(err)
	}
}

// Sockets come and go in any order, and each ends at its time; then nothing is
// left to wait for.
func TestManyExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openDoor(t, hmacOptions(Options{Join: []string{"*"}, Leeway: -1, Warning: -1}), rooms()...)
		start := time.Now()
		var stay []*channelstest.Client
		for i := range 300 {
			c := d.connect(t, hs(t, claims{"exp": start.Add(time.Duration(600+i*7%97) * time.Second).Unix()}))
			if i%3 == 0 {
				c.Close()
			} else {
				stay = append(stay, c)
			}
		}
		synctest.Wait()
		if n := waiting(d.verifier); n != len(stay) {
			t.Errorf("%d wait, want %d", n, len(stay))
		}
		for d.Stats().Sockets > 0 {
			time.Sleep(time.Second)
			synctest.Wait()
			passed := time.Since(start)
			if n := d.Stats().Sockets; passed < 600*time.Second && n != int64(len(stay)) || passed > 697*time.Second && n != 0 {
				t.Fatalf("%d sockets after %v", n, passed)
			}
		}
		for _, c := range stay {
			c.AssertClosed(CloseExpired)
		}
		if n := waiting(d.verifier); n != 0 {
			t.Errorf("%d wait for nothing", n)
		}
	})
}

func waiting(v *Verifier) int {
	v.expiry.mu.Lock()
	defer v.expiry.mu.Unlock()
	return len(v.expiry.queue)
}

// The sockets of a verifier that another has replaced renew and end as before.
func TestCloseFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openDoor(t, hmacOptions(Options{Join: []string{"*"}, Leeway: -1}), rooms()...)
		c := d.connect(t, hs(t, claims{"exp": time.Now().Unix() + 100}))
		room := c.Join("room:1", nil)
		d.verifier.Close()
		time.Sleep(90 * time.Second)
		room.AssertPush(ExpiringEvent, nil)
		room.Push(AccessTokenEvent, object{"access_token": hs(t, claims{"exp": time.Now().Unix() + 100})}).AssertReply("ok", nil)
		time.Sleep(90 * time.Second)
		room.Push("x", nil).AssertReply("error", unauthorized)
		time.Sleep(11 * time.Second)
		c.AssertClosed(CloseExpired)
	})
}

// The way of a message costs no allocation and the comparisons of its patterns.
func TestEventAllocations(t *testing.T) {
	v := newVerifier(t, hmacOptions(Options{Join: []string{"*"}, Publish: []string{"room:lobby", "user:{sub}"}}))
	g, ref := v.grant(context.Background(), hs(t, claims{"sub": "ada", "channels": claims{"publish": []string{"room:a", "room:*"}}}))
	if ref != nil {
		t.Fatal(ref)
	}
	s := newSession(v, new(channels.Socket), g)
	event := []byte("new_msg")
	for topic, want := range map[string]error{"room:lobby": nil, "user:ada": nil, "room:1": nil, "user:bob": errMayNotPublish} {
		if n := testing.AllocsPerRun(100, func() {
			if _, err := s.Event(topic, event); err != want {
				t.Errorf("%s: %v", topic, err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", topic, n)
		}
	}
}
