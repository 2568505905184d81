package channels_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
)

// TestHeldRequestsLeaveSockets: requests that are held open use up only a part
// of MaxConnections, and sockets connect as before.
func TestHeldRequestsLeaveSockets(t *testing.T) {
	bothSlow(t, func(t *testing.T, o channels.Options) {
		o.Limits.MaxConnections = 20
		o.Limits.HandshakeTimeout = time.Minute
		s := serve(t, o, channels.SocketOptions{}, room())
		for range 20 {
			c, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nand then nothing"); err != nil {
				t.Fatal(err)
			}
			c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			c.Read(make([]byte, 1)) // it only has to be with net/http, or closed
		}
		for range 8 {
			s.dial(t).join("room:1", "{}")
		}
	})
}
