package scale

import (
	"crypto/tls"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/certtest"
	"github.com/mycelium-rt/mycelium/internal/race"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

const (
	// maxTLSHeap and maxTLSResident bound the live heap and the resident memory of a joined
	// connection with TLS, in bytes, and all that belongs to it.
	maxTLSHeap     = 5 << 10
	maxTLSResident = 6 << 10
	// dialers connect at a time: the handshakes are most of the test's time.
	dialers = 4
)

// TestScaleTLS measures what idle connections with TLS cost, and checks that each gets a
// message afterwards. There are ten thousand with -full.
func TestScaleTLS(t *testing.T) {
	n := 1000
	if *full {
		n = 10_000
	} else if race.Enabled || testing.Short() {
		n = 200
	}
	n = affordable(t, n)
	authority := certtest.New(t)
	pair := authority.Server()
	cert, key := certtest.Files(t, &pair)
	server := startServer(t, settings{Cert: cert, Key: key})
	config := authority.Trusting()
	config.ClientSessionCache = tls.NewLRUClientSessionCache(dialers)
	config.CurvePreferences = []tls.CurveID{tls.X25519}
	joinTLS(t, server, config, 10) // what is needed once
	before := server.usage()

	begun := time.Now()
	all := joinTLS(t, server, config, n)
	took := time.Since(begun)
	after := server.await("the goroutines of the handshakes to end", func(u usage) bool {
		return u.Goroutines < maxGoroutines && u.Goroutines <= before.Goroutines+5
	})
	server.writeHeapProfile()
	heap, resident := (after.Heap-before.Heap)/int64(n), (after.Resident-before.Resident)/int64(n)
	if !race.Enabled && *heapFile == "" {
		if heap > maxTLSHeap {
			t.Errorf("live heap of %d bytes per connection, want at most %d", heap, maxTLSHeap)
		}
		if grown := after.Resident - before.Resident; grown > residue+maxTLSResident*int64(n) {
			t.Errorf("RSS has grown by %d bytes with %d connections, want at most %d and %d each", grown, n, residue, maxTLSResident)
		}
	}
	if err := all[0].WriteText(`["1","2","` + plainTopic + `","shout",{"body":"to all"}]`); err != nil {
		t.Fatal(err)
	}
	for i, c := range all {
		for {
			_, text, err := c.ReadMessage()
			if err != nil {
				t.Fatalf("client %d: %v", i, err)
			}
			if strings.Contains(string(text), `"to all"`) {
				break
			}
		}
	}
	t.Logf("%d idle connections with TLS: joined in %v, %d goroutines (%d without), heap %d and RSS %d bytes per connection",
		n, took.Round(time.Millisecond), after.Goroutines, before.Goroutines, heap, resident)
}

// joinTLS connects clients that join plainTopic. They are dropped at the end of the test.
func joinTLS(t *testing.T, server *process, config *tls.Config, n int) []*wstest.Client {
	t.Helper()
	all := make([]*wstest.Client, n)
	var running sync.WaitGroup
	for d := range dialers {
		running.Go(func() {
			for i := d; i < n; i += dialers {
				var err error
				if all[i], err = joinOverTLS(server.addr, config); err != nil {
					t.Errorf("client %d: %v", i, err)
					return
				}
			}
		})
	}
	running.Wait()
	t.Cleanup(func() {
		for _, c := range all {
			if c != nil {
				c.Drop()
			}
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	return all
}

func joinOverTLS(addr string, config *tls.Config) (*wstest.Client, error) {
	conn, err := tls.Dial("tcp", addr, config)
	if err != nil {
		return nil, err
	}
	c, err := wstest.NewClient(conn, "/socket/websocket?vsn=2.0.0", nil)
	if err != nil {
		conn.Close()
		return nil, err
	}
	if err = c.WriteText(`["1","1","` + plainTopic + `","phx_join",{}]`); err == nil {
		var text []byte
		if _, text, err = c.ReadMessage(); err == nil && !strings.Contains(string(text), okReply) {
			err = fmt.Errorf("the join was answered with %s: %w", text, io.ErrUnexpectedEOF)
		}
	}
	if err != nil {
		c.Drop()
		return nil, err
	}
	return c, nil
}
