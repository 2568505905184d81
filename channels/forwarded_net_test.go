package channels_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// TestLimitsByForwardedAddress: behind a trusted proxy each client has the
// limit of its own address, by every way to a socket.
func TestLimitsByForwardedAddress(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		o.Limits.MaxConnectionsPerAddress = 2
		addrs := make(chan netip.AddrPort, 100)
		connect := func(_ context.Context, _ *channels.Socket, r *channels.Request) error {
			addrs <- r.RemoteAddr
			return nil
		}
		s := serve(t, o, channels.SocketOptions{Connect: connect, LongPoll: channels.LongPollOptions{Enabled: true}}, room())
		from := func(client string) http.Header { return http.Header{"X-Forwarded-For": {client}} }
		dial := func(client string) (*wstest.Client, error) {
			c, err := wstest.Dial(s.addr, "/socket/websocket?vsn=2.0.0", from(client))
			if err == nil {
				t.Cleanup(func() { c.Drop() })
			}
			return c, err
		}
		for _, client := range []string{"192.0.2.1", "192.0.2.2"} {
			for range 2 {
				if _, err := dial(client); err != nil {
					t.Fatalf("%s: %v", client, err)
				}
				if got := <-addrs; got != netip.AddrPortFrom(netip.MustParseAddr(client), 0) {
					t.Errorf("%s: RemoteAddr %v", client, got)
				}
			}
			if _, err := dial(client); !refusedWith(err, http.StatusServiceUnavailable) {
				t.Errorf("third connection of %s: %v", client, err)
			}
			<-addrs
		}
		if status := upgradeLater(t, s, "192.0.2.2"); status != http.StatusServiceUnavailable {
			t.Errorf("a third one that net/http has read first: %d", status)
		}
		<-addrs
		if status := upgradeLater(t, s, "192.0.2.3"); status != http.StatusSwitchingProtocols {
			t.Errorf("another client's that net/http has read first: %d", status)
		}
		if got := <-addrs; got.Addr() != netip.MustParseAddr("192.0.2.3") {
			t.Errorf("RemoteAddr %v", got)
		}
		for client, want := range map[string]int{"192.0.2.1": http.StatusServiceUnavailable, "192.0.2.4": http.StatusOK} {
			if status := openPoll(t, s, client); status != want {
				t.Errorf("long poll of %s: %d, want %d", client, status, want)
			}
			<-addrs
		}
	})
}

// TestForwardedAddressOfStrangers: without trusted proxies, X-Forwarded-For has
// no effect.
func TestForwardedAddressOfStrangers(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		o.Limits.MaxConnectionsPerAddress = 1
		s := serve(t, o, channels.SocketOptions{}, room())
		s.dialTarget(t, "/socket/websocket?vsn=2.0.0", http.Header{"X-Forwarded-For": {"192.0.2.1"}})
		if c, err := wstest.Dial(s.addr, "/socket/websocket?vsn=2.0.0", http.Header{"X-Forwarded-For": {"192.0.2.2"}}); err == nil {
			c.Drop()
			t.Error("a second connection of one address was admitted")
		}
	})
}

func refusedWith(err error, status int) bool {
	var answer *wstest.StatusError
	return errors.As(err, &answer) && answer.Status == status
}

// upgradeLater upgrades by the second request of a connection, as a proxy that
// keeps its connections does. The connection stays open until the test ends.
func upgradeLater(t *testing.T, s *server, client string) int {
	t.Helper()
	c := s.raw(t)
	c.write("GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n")
	r := bufio.NewReader(c.Conn())
	answer, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, answer.Body) // ReadResponse below finds it
	answer.Body.Close()
	c.write(fmt.Sprintf("GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: %s\r\n"+
		"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", client))
	answer, err = http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode
}

func openPoll(t *testing.T, s *server, client string) int {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, "http://"+s.addr+"/socket/longpoll?vsn=2.0.0", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Forwarded-For", client)
	answer, err := httpClient(t).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	return answer.StatusCode
}
