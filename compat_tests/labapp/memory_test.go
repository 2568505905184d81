package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/heaptest"
	"github.com/mycelium-rt/mycelium/internal/race"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
	"github.com/mycelium-rt/mycelium/presence"
)

const (
	// visitorsTarget is the variable that tells a child process of the test the
	// address to connect to.
	visitorsTarget = "MYCELIUM_TEST_VISITORS"
	visitorCount   = 4000
)

func TestMain(m *testing.M) {
	if addr := os.Getenv(visitorsTarget); addr != "" {
		if err := holdVisitors(addr); err != nil {
			fmt.Println(err)
		}
		return
	}
	os.Exit(m.Run())
}

// holdVisitors connects and joins clients, prints "ready", and holds them until its input
// ends.
func holdVisitors(addr string) error {
	header := map[string][]string{"User-Agent": {"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}}
	var held []net.Conn
	for i := range visitorCount {
		hello := wstest.AppendHandshake(nil, fmt.Sprintf("/socket/websocket?user_id=%d&vsn=2.0.0", i), header)
		hello = append(hello, ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte(`["1","1","echo:lobby","phx_join",{}]`))))...)
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		held = append(held, c)
		if _, err := c.Write(hello); err != nil {
			return err
		}
		var got strings.Builder
		for buf := make([]byte, 4096); !strings.Contains(got.String(), `"status":"ok"`); {
			n, err := c.Read(buf)
			if err != nil {
				return fmt.Errorf("%w after %q", err, got.String())
			}
			got.Write(buf[:n])
		}
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(held)
	return nil
}

// TestHeapOfVisitors checks that a socket that keeps its params, its id and some of its
// request takes little more memory than one that keeps nothing (channels.TestIdleHeap). The
// clients are in a process of their own.
func TestHeapOfVisitors(t *testing.T) {
	if race.Enabled || testing.Short() || runtime.GOOS != "linux" {
		t.Skip("make test-budgets runs it")
	}
	endpoint, err := channels.NewEndpoint(channels.Options{})
	if err != nil {
		t.Fatal(err)
	}
	tracker := presence.New(endpoint, presence.Options{})
	mountSockets(endpoint, tracker)
	addr, err := endpoint.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := endpoint.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		tracker.Close()
	})
	before := heaptest.Live()
	heaptest.StartClients(t, visitorsTarget+"="+addr.String())
	if n := endpoint.Stats().Channels; n != visitorCount {
		t.Fatalf("%d channels", n)
	}
	each := (float64(heaptest.Live()) - float64(before)) / visitorCount
	t.Logf("%.0f bytes of heap for a connection that keeps some of its request", each)
	if each > 900 {
		t.Errorf("%.0f bytes of heap for a connection that keeps some of its request, at most 900 are allowed", each)
	}
}
