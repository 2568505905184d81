package attack

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// attacker is the hostile clients of an attack.
type attacker struct {
	// Static.
	victim *victim
	proxy  netip.Addr // the address that they connect from
	client netip.Addr // the client's address that the proxy names
	ctx    context.Context

	done    atomic.Int64 // how often the attack has been made
	workers sync.WaitGroup

	mu   sync.Mutex
	open []net.Conn // guarded by mu
}

// start runs an attack by its number of workers, over and over. Each attack has its own
// address, so that a limit that one has reached does not stop the next. It is a public
// address, which on loopback only a proxy that the victim trusts can provide.
func start(ctx context.Context, v *victim, number int, a attack) *attacker {
	x := &attacker{
		victim: v, ctx: ctx,
		proxy:  netip.AddrFrom4([4]byte{127, 0, 1, byte(number)}),
		client: netip.AddrFrom4([4]byte{203, 0, 113, byte(number)}),
	}
	for i := range a.workers {
		x.workers.Go(func() {
			for ctx.Err() == nil {
				a.strike(x, i)
			}
		})
	}
	return x
}

// stop ends the attack and closes what it holds open.
func (x *attacker) stop() {
	x.mu.Lock()
	for _, c := range x.open {
		c.Close()
	}
	x.mu.Unlock()
	x.workers.Wait()
}

// underWay waits until the attack has been made n times.
func (x *attacker) underWay(t *testing.T, n int64) {
	t.Helper()
	for deadline := time.Now().Add(patience); x.done.Load() < n; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the attack has been made %d of %d times", x.done.Load(), n)
		}
	}
}

// dial connects. It returns nil, after a pause, if the server refuses or the attack is
// over.
func (x *attacker) dial() net.Conn {
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(x.proxy, 0)), Timeout: time.Second}
	c, err := d.DialContext(x.ctx, "tcp", x.victim.addr)
	if err != nil {
		x.pause(10 * time.Millisecond)
		return nil
	}
	c.(*net.TCPConn).SetLinger(0) // avoids TIME_WAIT
	return c
}

// hold keeps a connection open until the attack ends.
func (x *attacker) hold(c net.Conn) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ctx.Err() != nil {
		c.Close()
		return
	}
	x.open = append(x.open, c)
}

// socket connects a WebSocket. It returns nil as dial does.
func (x *attacker) socket(path string, header http.Header) *wstest.Client {
	c := x.dial()
	if c == nil {
		return nil
	}
	fields := http.Header{"X-Forwarded-For": {x.client.String()}}
	maps.Copy(fields, header)
	client, err := wstest.NewClient(c, path, fields)
	if err != nil {
		c.Close()
		return nil
	}
	client.Timeout = 2 * time.Second
	return client
}

// relay connects to the default instance.
func (x *attacker) relay() *wstest.Client { return x.socket("/socket/websocket?vsn=2.0.0", nil) }

// send writes to a raw connection. It returns false if the connection is of no more
// use.
func (x *attacker) send(c net.Conn, text string) bool {
	c.SetWriteDeadline(time.Now().Add(time.Second)) // Write reports it
	_, err := c.Write([]byte(text))
	return err == nil
}

// pause waits for d or until the attack is over.
func (x *attacker) pause(d time.Duration) {
	select {
	case <-x.ctx.Done():
	case <-time.After(d):
	}
}

// request returns the head of a request.
func (x *attacker) request(method, path string, fields ...string) string {
	text := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: %v\r\n", method, path, x.client)
	for _, f := range fields {
		text += f + "\r\n"
	}
	return text + "\r\n"
}
