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

// attacker is all the hostile clients of one attack.
type attacker struct {
	// Static.
	victim *victim
	proxy  netip.Addr // where they connect from
	client netip.Addr // whom the proxy names
	ctx    context.Context

	done    atomic.Int64 // how often it has done what it does
	workers sync.WaitGroup

	mu   sync.Mutex
	open []net.Conn // guarded by mu
}

// start runs an attack by as many workers as it wants, each over and over. Each
// attack has an address of its own: what one has used up is no defence against the
// next. It is a public one, which only a proxy that the victim trusts can give it
// on the loopback interface.
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

// underWay waits until the attack has done something n times.
func (x *attacker) underWay(t *testing.T, n int64) {
	t.Helper()
	for deadline := time.Now().Add(patience); x.done.Load() < n; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the attack has done %d things of %d", x.done.Load(), n)
		}
	}
}

// dial connects; nil means that the server or the attack has had enough, after
// a pause that leaves the processor to others.
func (x *attacker) dial() net.Conn {
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(x.proxy, 0)), Timeout: time.Second}
	c, err := d.DialContext(x.ctx, "tcp", x.victim.addr)
	if err != nil {
		x.pause(10 * time.Millisecond)
		return nil
	}
	c.(*net.TCPConn).SetLinger(0) // only saves ports
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

// socket connects a WebSocket; nil as dial.
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

// send writes what a raw connection is to say; false ends the attack on it.
func (x *attacker) send(c net.Conn, text string) bool {
	c.SetWriteDeadline(time.Now().Add(time.Second)) // Write fails then
	_, err := c.Write([]byte(text))
	return err == nil
}

// pause waits, or ends with the attack.
func (x *attacker) pause(d time.Duration) {
	select {
	case <-x.ctx.Done():
	case <-time.After(d):
	}
}

// request makes a request's head.
func (x *attacker) request(method, path string, fields ...string) string {
	text := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: %v\r\n", method, path, x.client)
	for _, f := range fields {
		text += f + "\r\n"
	}
	return text + "\r\n"
}
