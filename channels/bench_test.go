package channels_test

import (
	"bytes"
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
)

// The budgets that the project holds itself to, measured over TCP.

// relaying is a channel that broadcasts what it is pushed, as the built-in
// relay does.
func relaying() *channels.Channel {
	ch := channels.Handle("relay:*", func(*channels.Context, channels.Payload) (channels.NoReply, error) { return channels.NoReply{}, nil })
	ch.OnAny(func(c *channels.Context, event string, p channels.Payload) (channels.Reply, error) {
		return channels.Reply{}, c.Relay(event, p)
	})
	return ch.OnLoop()
}

// crowd is one sender and some receivers of one topic, on bare connections
// whose clients allocate nothing while they are measured.
type crowd struct {
	sender    *net.TCPConn
	receivers []*net.TCPConn
	frame     []byte // one masked message
	reply     int    // bytes that each receiver gets for it
	buf       []byte
}

func newCrowd(t testing.TB, s *server, receivers int) *crowd {
	t.Helper()
	return newCrowdAt(t, s, "/socket/websocket?vsn=2.0.0", receivers)
}

func newCrowdAt(t testing.TB, s *server, target string, receivers int) *crowd {
	t.Helper()
	topic := fmt.Sprintf("relay:%d", receivers)
	c := &crowd{
		frame: frames(`["1",null,"` + topic + `","msg",{"body":"hello"}]`),
		reply: 2 + len(`[null,null,"`+topic+`","msg",{"body":"hello"}]`), buf: make([]byte, 64<<10),
	}
	for range receivers {
		p := s.dialTarget(t, target, nil)
		p.join(topic, "{}")
		conn := p.Conn().(*net.TCPConn)
		conn.SetDeadline(time.Time{}) // it is open
		c.receivers = append(c.receivers, conn)
	}
	c.sender = c.receivers[0] // it hears itself
	return c
}

// send pushes n messages, one after the other, and reads their replies and
// broadcasts.
func (c *crowd) send(t testing.TB, n int) {
	t.Helper()
	for range n {
		if _, err := c.sender.Write(c.frame); err != nil {
			t.Fatal(err)
		}
		for _, r := range c.receivers {
			if _, err := io.ReadFull(r, c.buf[:c.reply]); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// mallocs is the number of allocations a message costs, the client's included.
func (c *crowd) mallocs(t testing.TB, n int) float64 {
	t.Helper()
	c.send(t, n/4) // fill the pools
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	c.send(t, n)
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / float64(n)
}

func TestAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates: make test-budgets runs it without")
	}
	both(t, func(t *testing.T, o channels.Options) {
		s := serve(t, o, channels.SocketOptions{}, relaying())
		alone := newCrowd(t, s, 1).mallocs(t, 4000)
		many := newCrowd(t, s, 40).mallocs(t, 1000)
		perDelivery := (many - alone) / 39
		t.Logf("%.2f allocations a message in, %.3f a delivery", alone, perDelivery)
		if o.Portable {
			return // its goroutines cost what they cost
		}
		if alone > 2.1 { // a tenth for what the rest of the process does meanwhile
			t.Errorf("%.2f allocations per relayed message in, at most 2 are allowed", alone)
		}
		if perDelivery > 0.02 {
			t.Errorf("%.3f allocations per delivery, none is allowed", perDelivery)
		}
	})
}

// crowdTarget is the variable by which a child process of a test knows where to
// connect, and how often: "5000 127.0.0.1:4000"; see TestMain.
const crowdTarget = "MYCELIUM_TEST_CROWD"

const crowdSize = 5000

// holdCrowd connects and joins clients, says "ready", and holds them until its
// input ends. They live in a process of their own, so that only the server's
// heap is measured.
func holdCrowd(target string) int {
	var size int
	var addr string
	params, session := "{}", ""
	if n, err := fmt.Sscan(target, &size, &addr, &params, &session); n < 2 {
		fmt.Println(err)
		return 1
	}
	text := `["1","1","room:lobby","phx_join",` + params + `]`
	addr, overTCP := strings.CutPrefix(addr, "tcp://")
	var held []net.Conn // a connection that nobody refers to is closed by the garbage collector
	for i := range size {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			fmt.Println(err)
			return 1
		}
		path := "/socket/websocket?vsn=2.0.0"
		if session != "" {
			path += fmt.Sprintf("&session=%s-%016d", session, i)
		}
		hello := string(wstest.AppendHandshake(nil, path, nil)) + string(frames(text))
		if overTCP {
			hello = packetOf(packetConnect, `{"path":"`+path+`"}`) + packetOf(packetText, text)
		}
		if err := joinBare(c, hello); err != nil {
			fmt.Println(err)
			return 1
		}
		held = append(held, c)
		if session != "" {
			go answerPing(c)
		}
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin) // its end is what counts
	runtime.KeepAlive(held)
	return 0
}

// answerPing answers the first ping, whose payload is a probe of the session, and sends a heartbeat.
func answerPing(c net.Conn) {
	frame := make([]byte, 2+8)
	if _, err := io.ReadFull(c, frame); err == nil {
		c.Write(append(wstest.AppendFrame(nil, true, ws.OpPong, frame[2:]), frames(`[null,"2","phoenix","heartbeat",{}]`)...))
	}
}

func joinBare(c net.Conn, hello string) error {
	if _, err := io.WriteString(c, hello); err != nil {
		return err
	}
	var got strings.Builder
	buf := make([]byte, 4096)
	for !strings.Contains(got.String(), `"status":"ok"`) {
		n, err := c.Read(buf)
		if err != nil {
			return fmt.Errorf("%w behind %q", err, got.String())
		}
		got.Write(buf[:n])
	}
	return nil
}

// TestIdleHeap takes 2 s, because it makes 5,000 connections twice.
func TestIdleHeap(t *testing.T) {
	if race.Enabled || testing.Short() {
		t.Skip("the race detector allocates: make test-budgets runs it without")
	}
	both(t, func(t *testing.T, o channels.Options) {
		o.Limits.MessagesPerSecond, o.Limits.BytesPerSecond = 1000, 1<<20 // limits cost a connection nothing
		s := serve(t, o, channels.SocketOptions{}, publishing("room:*"))  // it has no assigns: they are the application's
		goroutines, before := runtime.NumGoroutine(), heaptest.Live()
		release := startCrowd(t, s.addr, crowdSize)
		waitFor(t, "the crowd", func() bool { return s.Stats().Channels == crowdSize })
		waitFor(t, "the joins' goroutines to end", func() bool { return o.Portable || runtime.NumGoroutine() < goroutines+10 })
		perConnection := (float64(heaptest.Live()) - float64(before)) / crowdSize
		t.Logf("%.0f bytes of heap per idle joined connection, %d goroutines for %d", perConnection, runtime.NumGoroutine()-goroutines, crowdSize)
		if !o.Portable {
			checkIdleHeap(t, perConnection)
		}
		release()
		waitFor(t, "the crowd to leave", func() bool { return s.Stats().Sockets == 0 })
	})
}

// A connection of raw TCP takes no more than one of a WebSocket.
func TestIdleHeapOverTCP(t *testing.T) {
	if race.Enabled || testing.Short() || runtime.GOOS != "linux" {
		t.Skip("make test-budgets runs it")
	}
	s := serve(t, channels.Options{Loops: 2}, channels.SocketOptions{}, publishing("room:*"))
	addr := s.listenTCP(t)
	before := heaptest.Live()
	release := startCrowd(t, "tcp://"+addr, crowdSize)
	waitFor(t, "the crowd", func() bool { return s.Stats().TCP.Sockets == crowdSize && s.Stats().Channels == crowdSize })
	perConnection := (float64(heaptest.Live()) - float64(before)) / crowdSize
	t.Logf("%.0f bytes of heap per idle joined connection over raw TCP", perConnection)
	if perConnection > 530 {
		t.Errorf("%.0f bytes of heap per idle joined connection, at most 530 are allowed", perConnection)
	}
	release()
	waitFor(t, "the crowd to leave", func() bool { return s.Stats().Sockets == 0 })
}

// checkIdleHeap compares the memory of an idle connection with its bound, and
// with the sum of the parts that docs/performance.md names.
func checkIdleHeap(t *testing.T, measured float64) {
	t.Helper()
	if measured > 530 {
		t.Errorf("%.0f bytes of heap per idle joined connection, at most 530 are allowed", measured)
	}
	table, err := os.ReadFile("../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, part := range channels.IdleParts() {
		row := fmt.Sprintf("| %s | %d |\n", part.Name, part.Bytes)
		t.Log(row)
		if !bytes.Contains(table, []byte(row)) {
			t.Errorf("docs/performance.md has no row %s", row)
		}
		if !strings.HasPrefix(part.Name, "–") { // those are within the row before
			sum += part.Bytes
		}
	}
	t.Logf("| sum | %d |", sum)
	if d := measured - float64(sum); d < -0.05*measured || d > 0.1*measured {
		t.Errorf("the parts come to %d bytes, %.0f are measured: something is missing in channels.IdleParts", sum, measured)
	}
}

// startCrowd runs holdCrowd in a child process. release ends it.
func startCrowd(t *testing.T, addr string, size int) (release func()) {
	t.Helper()
	return heaptest.StartClients(t, fmt.Sprintf("%s=%d %s", crowdTarget, size, addr))
}

// After a peak of 10,000 connections, little more memory is in use than the map
// of descriptors of package easygo, about 40 bytes each, which only easygo
// could free. TestMemoryAfterPeak takes 3 s, because of so many connections.
func TestMemoryAfterPeak(t *testing.T) {
	if race.Enabled || testing.Short() || runtime.GOOS != "linux" {
		t.Skip("make test-budgets runs it")
	}
	s := serve(t, channels.Options{Loops: 2}, channels.SocketOptions{}, publishing("room:*"))
	s.dial(t).join("room:lobby", "{}") // what is made only once
	before := heaptest.Live()
	const crowds = 2 // each in a process of its own, because of its descriptors
	var release [crowds]func()
	for i := range release {
		release[i] = startCrowd(t, s.addr, crowdSize)
	}
	waitFor(t, "the crowds", func() bool { return s.Stats().Channels == crowds*crowdSize+1 })
	if err := s.Broadcast("room:lobby", "all", map[string]int{"n": 1}); err != nil { // fills queues and rings
		t.Fatal(err)
	}
	peak := heaptest.Live()
	for _, f := range release {
		f()
	}
	waitFor(t, "the crowds to leave", func() bool { n := s.Stats(); return n.Sockets == 1 && n.Network.Connections == 1 })
	left := (float64(heaptest.Live()) - float64(before)) / (crowds * crowdSize)
	t.Logf("%d bytes of heap at the peak, %.0f a connection left behind", peak-before, left)
	if left > 60 {
		t.Errorf("%.0f bytes of heap are left of each connection", left)
	}
}

// BenchmarkRelay is one message in and its deliveries.
func BenchmarkRelay(b *testing.B) {
	for _, receivers := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("%d receivers", receivers), func(b *testing.B) {
			s := serve(b, channels.Options{}, channels.SocketOptions{}, relaying())
			c := newCrowd(b, s, receivers)
			b.ReportAllocs()
			b.ResetTimer()
			c.send(b, b.N)
			b.StopTimer()
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*receivers), "ns/delivery")
		})
	}
}
