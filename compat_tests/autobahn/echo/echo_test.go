package main

import (
	"bytes"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"go.uber.org/goleak"

	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/websocket"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// onBoth runs a test on both kinds of connections, and fails if frames or buffers are left.
func onBoth(t *testing.T, test func(t *testing.T, addr string)) {
	for _, portable := range []bool{false, true} {
		t.Run(map[bool]string{false: "epoll", true: "portable"}[portable], func(t *testing.T) {
			loops, err := netloop.New(netloop.Options{Portable: portable, OutboundLimit: outboundBytes})
			if err != nil {
				t.Fatal(err)
			}
			l, err := loops.Listen("127.0.0.1:0", func(netip.AddrPort) netloop.Handler { return new(front) })
			if err != nil {
				t.Fatal(err)
			}
			test(t, l.Addr().String())
			if err := loops.Close(); err != nil {
				t.Error(err)
			}
			if f, b := netloop.LiveFrames(), websocket.LiveBuffers(); f != 0 || b != 0 {
				t.Errorf("%d frames and %d buffers are left", f, b)
			}
		})
	}
}

func dial(t *testing.T, addr string, header http.Header) *wstest.Client {
	t.Helper()
	c, err := wstest.Dial(addr, "/", header)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Drop() })
	return c
}

func expectEcho(t *testing.T, c *wstest.Client, wantBinary bool, want []byte) {
	t.Helper()
	binary, got, err := c.ReadMessage()
	if err != nil || binary != wantBinary || !bytes.Equal(got, want) {
		t.Fatalf("%d bytes, binary %t, %v; want %d bytes, binary %t", len(got), binary, err, len(want), wantBinary)
	}
}

func TestEcho(t *testing.T) {
	onBoth(t, func(t *testing.T, addr string) {
		c := dial(t, addr, nil)
		for _, size := range []int{0, 1, 125, 126, 65536, 1 << 20} {
			payload := bytes.Repeat([]byte("e"), size)
			if err := errors.Join(c.WriteText(string(payload)), c.WriteBinary(payload)); err != nil {
				t.Fatal(err)
			}
			expectEcho(t, c, false, payload)
			expectEcho(t, c, true, payload)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestCompressed checks that compressed messages of a client with one of Autobahn's offers
// come back, compressed if they are large enough, and within the window.
func TestCompressed(t *testing.T) {
	const offer = "permessage-deflate; client_no_context_takeover; client_max_window_bits"
	onBoth(t, func(t *testing.T, addr string) {
		for parameters, want := range map[string]int{
			"": 3,
			"; server_no_context_takeover; server_max_window_bits=9": 1,
		} {
			c := dial(t, addr, http.Header{"Sec-WebSocket-Extensions": {offer + parameters}})
			for _, size := range []int{1, 512, 4 << 10, 32 << 10} {
				payload := bytes.Repeat([]byte("again "), size/6+1)[:size]
				if err := c.WriteCompressed(ws.OpText, payload); err != nil {
					t.Fatal(err)
				}
				expectEcho(t, c, false, payload)
			}
			if c.Compressed != want {
				t.Errorf("%q: %d messages came compressed, want %d", parameters, c.Compressed, want)
			}
		}
	})
}

func TestCloses(t *testing.T) {
	onBoth(t, func(t *testing.T, addr string) {
		c := dial(t, addr, nil)
		if err := c.WriteFrame(ws.OpText, []byte{0xff}); err != nil {
			t.Fatal(err)
		}
		_, _, err := c.ReadMessage()
		var closed *wstest.CloseError
		if !errors.As(err, &closed) || closed.Code != websocket.CloseInvalidPayload {
			t.Errorf("%v, want a close with 1007", err)
		}
	})
}

func TestRefuses(t *testing.T) {
	onBoth(t, func(t *testing.T, addr string) {
		for _, header := range []http.Header{
			{"Upgrade": {"h2c"}},
			{"X-Long": {strings.Repeat("x", headBytes)}},
		} {
			_, err := wstest.Dial(addr, "/", header)
			var refused *wstest.StatusError
			if !errors.As(err, &refused) || refused.Status < 400 {
				t.Errorf("%v, want a refusal", err)
			}
		}
	})
}
