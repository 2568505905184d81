package natscluster

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/cluster"
)

// startStalled starts a NATS server that lets one client connect and subscribe, and then reads
// nothing until it is stopped.
func startStalled(t *testing.T) (url string, stop func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(func() { listener.Close() })
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, `INFO {"server_id":"s","version":"2.10.0","proto":1,"headers":true,"max_payload":1048576}`+"\r\n")
		lines := bufio.NewReader(conn)
		for pings := 0; pings < 2; { // one of Connect, and one of Open
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			if strings.HasPrefix(line, "PING") {
				fmt.Fprint(conn, "PONG\r\n")
				pings++
			}
		}
		<-ctx.Done()
	}()
	return "nats://" + listener.Addr().String(), stop
}

// TestStalled: To does not wait for a server that reads nothing, because it is called on event
// loops.
func TestStalled(t *testing.T) {
	t.Parallel()
	url, stop := startStalled(t)
	transport, err := Connect("stalled", url)
	if err != nil {
		t.Fatal(err)
	}
	if err := transport.Open(1, func([]byte) {}); err != nil {
		t.Fatal(err)
	}
	var sent atomic.Int64
	failed := make(chan struct{})
	go func() {
		defer close(failed)
		for transport.ToAll(make([]byte, cluster.MaxPacket)) == nil {
			sent.Add(1)
		}
	}()
	wait(t, "ToAll waits", func() bool {
		before := sent.Load()
		time.Sleep(300 * time.Millisecond)
		return sent.Load() == before
	})
	before := time.Now()
	transport.To(2, []byte("a question"))
	if took := time.Since(before); took > 5*time.Second { // NATS is given up after 10 s
		t.Errorf("To waited for %v", took)
	}
	stop()
	<-failed
	if err := transport.Close(); err != nil {
		t.Error(err)
	}
}
