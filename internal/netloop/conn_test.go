package netloop

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestEchoThousand(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		g := newGroup(t, w.with(Options{}))
		addr := listen(t, g, func(netip.AddrPort) Handler { return &hooks{data: echo} })
		const clients, rounds = 1000, 5
		var wg sync.WaitGroup
		var failed atomic.Value
		conns := make([]*net.TCPConn, clients)
		for i := range conns {
			conns[i] = dial(t, addr)
		}
		for i, c := range conns {
			wg.Go(func() {
				msg := bytes.Repeat([]byte{byte(i), byte(i >> 8)}, 40)
				got := make([]byte, len(msg))
				for range rounds {
					c.Write(msg)
					if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, msg) {
						failed.Store(errors.Join(err, errors.New("wrong echo")))
						return
					}
				}
			})
		}
		wg.Wait()
		if err := failed.Load(); err != nil {
			t.Fatal(err)
		}
		s := g.Stats()
		if s.Accepted != clients || s.Connections != clients || s.BytesIn != clients*rounds*80 {
			t.Errorf("stats: %+v", s)
		}
		eventually(t, "frames released", func() bool { return LiveFrames() == 0 && g.Stats().BytesOut == clients*rounds*80 })
	})
}

// Frames that are sent in one turn leave in one write per receiver, whatever their order among receivers.
func TestOneWritePerReceiverPerTurn(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		g := newGroup(t, w.with(Options{Loops: 1}))
		var k collector
		addr := listen(t, g, func(netip.AddrPort) Handler { return &hooks{open: k.add} })
		const receivers, frames = 50, 16
		peers := make([]*net.TCPConn, receivers)
		for i := range peers {
			peers[i] = dial(t, addr)
		}
		eventually(t, "all open", func() bool { return len(k.all()) == receivers })
		var want []byte
		conns := k.all()
		on(t, conns[0], func() {
			for i := range frames {
				f := frameOf(bytes.Repeat([]byte{'a' + byte(i)}, 10+i))
				want = append(want, f.Bytes()...)
				f.Retain(receivers - 1)
				for _, c := range conns {
					c.Send(f)
				}
			}
			if n := LiveFrames(); n != frames {
				t.Errorf("%d live frames before the end of the turn, want %d", n, frames)
			}
		})
		for _, p := range peers {
			got := make([]byte, len(want))
			if _, err := io.ReadFull(p, got); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("got %q, %v", got, err)
			}
		}
		eventually(t, "frames released", func() bool { return LiveFrames() == 0 && g.Stats().Writes >= receivers })
		if s := g.Stats(); s.Writes != receivers || s.BytesOut != int64(receivers*len(want)) {
			t.Errorf("%d writes for %d receivers: %+v", s.Writes, receivers, s)
		}
	})
}

// A receiver that reads slowly gets every byte in order through partial writes.
func TestPartialWritesKeepOrder(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		const total = 8 << 20
		g := newGroup(t, w.with(Options{OutboundLimit: 2 * total}))
		c, peer := connect(t, g, &hooks{})
		peer.SetReadBuffer(16 << 10)
		var want []byte
		for i := 0; len(want) < total; i++ {
			size := []int{10, 1000, 80_000, 20_000, 7}[i%5]
			part := make([]byte, size)
			for j := range part {
				part[j] = byte(i + j*7)
			}
			want = append(want, part...)
			own := part
			if i%3 == 1 { // the rest in parts: small ones, or one that is larger than any scratch
				own = part[:size/7]
			}
			frame := frameOf(own)
			if len(own) < size {
				frame.Share(slices.Collect(slices.Chunk(part[len(own):], max(1, i%2*size, 900))))
			}
			if !c.Loop().Post(TaskFunc(func() { c.Send(frame) })) {
				t.Fatal("task refused")
			}
		}
		on(t, c, func() {
			if n := c.QueuedBytes(); n < total/8 {
				t.Errorf("only %d bytes wait for a receiver that does not read", n)
			}
		})
		got := make([]byte, len(want))
		if _, err := io.ReadFull(peer, got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatal("bytes differ")
		}
		eventually(t, "queue empty", func() bool {
			var n int
			on(t, c, func() { n = c.QueuedBytes() })
			return n == 0
		})
		if n := LiveFrames(); n != 0 {
			t.Errorf("%d frames left", n)
		}
	})
}

func TestOverflow(t *testing.T) {
	const limit, frame = 64 << 10, 4 << 10
	// fill sends numbered frames to a peer that does not read until the limit has been passed by far.
	fill := func(t *testing.T, c *Conn) (sent int) {
		for round := 0; round < 4000; round++ {
			open := true
			on(t, c, func() {
				f := frameOf(bytes.Repeat([]byte{byte(sent), byte(sent >> 8)}, frame/2))
				c.Send(f)
				sent++
				open = c.IsOpen()
				if c.QueuedBytes() > limit {
					t.Errorf("%d bytes wait, the limit is %d", c.QueuedBytes(), limit)
				}
			})
			if !open {
				return sent
			}
		}
		return sent
	}
	numbers := func(t *testing.T, peer *net.TCPConn, c *Conn) (got []int) {
		on(t, c, func() { c.CloseAfterFlush(io.EOF, patience) })
		all, err := io.ReadAll(peer)
		if err != nil || len(all)%frame != 0 {
			t.Fatalf("%d bytes, %v", len(all), err)
		}
		for ; len(all) > 0; all = all[frame:] {
			if !bytes.Equal(all[:frame], bytes.Repeat(all[:2], frame/2)) {
				t.Fatal("a frame was torn")
			}
			got = append(got, int(all[0])|int(all[1])<<8)
		}
		return got
	}
	start := func(t *testing.T, w way, p Policy, h *hooks) (*Group, *Conn, *net.TCPConn) {
		g := newGroup(t, w.with(Options{OutboundLimit: limit, Overflow: p}))
		c, peer := connect(t, g, h)
		return g, c, peer
	}
	t.Run("CloseSlow", func(t *testing.T) {
		each(t, func(t *testing.T, w way) {
			reason := make(chan error, 1)
			g, c, _ := start(t, w, CloseSlow, &hooks{close: func(_ *Conn, err error) { reason <- err }})
			fill(t, c)
			if err := receive(t, "HandleClose", reason); err != ErrSlowReceiver {
				t.Error(err)
			}
			if s := g.Stats(); s.ClosedSlow != 1 || s.Connections != 0 {
				t.Errorf("%+v", s)
			}
		})
	})
	t.Run("DropNewest", func(t *testing.T) {
		each(t, func(t *testing.T, w way) {
			g, c, peer := start(t, w, DropNewest, &hooks{})
			sent := fill(t, c)
			got := numbers(t, peer, c)
			if got[0] != 0 {
				t.Errorf("the first frame is %d", got[0])
			}
			for i := 1; i < len(got); i++ {
				if got[i] <= got[i-1] {
					t.Fatal("out of order")
				}
			}
			if s := g.Stats(); s.DroppedNewest != int64(sent-len(got)) || s.DroppedNewest == 0 {
				t.Errorf("%d sent, %d received, %+v", sent, len(got), s)
			}
		})
	})
	t.Run("DropOldest", func(t *testing.T) {
		each(t, func(t *testing.T, w way) {
			g, c, peer := start(t, w, DropOldest, &hooks{})
			sent := fill(t, c)
			got := numbers(t, peer, c)
			if got[len(got)-1] != sent-1 {
				t.Errorf("the newest frame is %d, %d were sent", got[len(got)-1], sent)
			}
			for i := 1; i < len(got); i++ {
				if got[i] <= got[i-1] {
					t.Fatal("out of order")
				}
			}
			if s := g.Stats(); s.DroppedOldest != int64(sent-len(got)) || s.DroppedOldest == 0 {
				t.Errorf("%d sent, %d received, %+v", sent, len(got), s)
			}
		})
	})
}

func TestCloseAfterFlush(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		g := newGroup(t, w.with(Options{OutboundLimit: 64 << 20}))
		reason := make(chan error, 1)
		c, peer := connect(t, g, &hooks{close: func(_ *Conn, err error) { reason <- err }})
		goodbye := errors.New("goodbye")
		want := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
		peer.Write([]byte("bytes that nobody reads must not turn the end into a reset"))
		on(t, c, func() {
			c.PauseRead()
			c.Send(frameOf(want))
			c.Send(frameOf([]byte("end")))
			c.CloseAfterFlush(goodbye, patience)
			c.Send(frameOf([]byte("too late")))
		})
		got, err := io.ReadAll(peer)
		if err != nil || !bytes.Equal(got, append(want, "end"...)) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		peer.Close()
		if err := receive(t, "HandleClose", reason); err != goodbye {
			t.Error(err)
		}
	})
}

// A peer that neither reads nor closes is given up after the time limit.
func TestCloseAfterFlushGivesUp(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		g := newGroup(t, w.with(Options{Tick: 5 * time.Millisecond, OutboundLimit: 64 << 20}))
		reason := make(chan error, 1)
		c, _ := connect(t, g, &hooks{close: func(_ *Conn, err error) { reason <- err }})
		on(t, c, func() {
			c.Send(frameOf(make([]byte, 32<<20)))
			c.CloseAfterFlush(io.EOF, 50*time.Millisecond)
		})
		if err := receive(t, "HandleClose", reason); err != io.EOF {
			t.Error(err)
		}
		eventually(t, "frame released", func() bool { return LiveFrames() == 0 })
	})
}

// A peer that goes on sending is not read for long, and is given up after the time limit.
func TestCloseAfterFlushStopsReading(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		g := newGroup(t, w.with(Options{Tick: 5 * time.Millisecond}))
		reason := make(chan error, 1)
		c, peer := connect(t, g, &hooks{close: func(_ *Conn, err error) { reason <- err }})
		on(t, c, func() {
			c.Send(frameOf([]byte("goodbye")))
			c.CloseAfterFlush(io.EOF, 200*time.Millisecond)
		})
		flooded := make(chan struct{})
		go func() {
			defer close(flooded)
			for block := make([]byte, 64<<10); ; {
				if _, err := peer.Write(block); err != nil {
					return
				}
			}
		}()
		got := make([]byte, 7)
		if _, err := io.ReadFull(peer, got); err != nil || string(got) != "goodbye" {
			t.Errorf("received %q, %v", got, err)
		}
		if err := receive(t, "HandleClose", reason); err != io.EOF {
			t.Error(err)
		}
		receive(t, "the end of the flood", flooded)
		if n := g.Stats().BytesIn; n > 512<<10 {
			t.Errorf("%d bytes were read", n)
		}
	})
}

func TestPauseRead(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		g := newGroup(t, w.with(Options{}))
		got := make(chan string, 100)
		reason := make(chan error, 1)
		c, peer := connect(t, g, &hooks{
			data: func(c *Conn, data []byte) {
				got <- string(data)
				c.PauseRead()
			},
			close: func(_ *Conn, err error) { reason <- err },
		})
		on(t, c, c.PauseRead)
		peer.Write([]byte("one"))
		time.Sleep(20 * time.Millisecond)
		on(t, c, func() {})
		if len(got) != 0 {
			t.Fatalf("read while paused: %q", <-got)
		}
		on(t, c, c.ResumeRead)
		if s := receive(t, "HandleData", got); s != "one" {
			t.Error(s)
		}
		peer.Write([]byte("two"))
		peer.CloseWrite()
		time.Sleep(20 * time.Millisecond)
		on(t, c, func() {
			if !c.IsOpen() {
				t.Error("the end of the stream overtook what came before it")
			}
			c.ResumeRead()
		})
		if s := receive(t, "HandleData", got); s != "two" {
			t.Error(s)
		}
		on(t, c, c.ResumeRead)
		if err := receive(t, "HandleClose", reason); err != ErrPeerClosed {
			t.Error(err)
		}
	})
}

// What a peer sent before it closed its side is read, and what was answered to it is written.
func TestHalfClose(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		g := newGroup(t, w.with(Options{}))
		reason := make(chan error, 1)
		var n atomic.Int64
		_, peer := connect(t, g, &hooks{
			data: func(c *Conn, data []byte) {
				if n.Add(int64(len(data))) == 300_000 {
					c.Send(frameOf([]byte("all there")))
				}
			},
			close: func(_ *Conn, err error) { reason <- err },
		})
		peer.Write(make([]byte, 300_000))
		peer.CloseWrite()
		if err := receive(t, "HandleClose", reason); err != ErrPeerClosed {
			t.Error(err)
		}
		if got, err := io.ReadAll(peer); string(got) != "all there" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		if g.Stats().ClosedByPeer != 1 {
			t.Errorf("%+v", g.Stats())
		}
	})
}

func TestReset(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		for _, paused := range []bool{false, true} {
			if paused && w.options.Portable {
				continue // net.Conn does not tell before it is read
			}
			g := newGroup(t, w.with(Options{}))
			reason := make(chan error, 1)
			c, peer := connect(t, g, &hooks{close: func(_ *Conn, err error) { reason <- err }})
			if paused {
				on(t, c, c.PauseRead)
			}
			peer.SetLinger(0)
			peer.Close()
			if err := receive(t, "HandleClose", reason); err != ErrPeerReset {
				t.Error(err)
			}
		}
	})
}

// The deadline is started anew by bytes, and never fires early.
func TestDeadline(t *testing.T) {
	eachSlow(t, func(t *testing.T, w way) {
		g := newGroup(t, w.with(Options{Tick: 10 * time.Millisecond}))
		const idle, bytes = 150 * time.Millisecond, 20
		type firing struct {
			quiet time.Duration // since the last byte
			read  int           // bytes
		}
		fired := make(chan firing, 100)
		var last time.Time // both are owned by the loop
		var read int
		c, peer := connect(t, g, &hooks{
			open: func(c *Conn) { c.SetDeadline(idle) },
			data: func(_ *Conn, data []byte) { last, read = time.Now(), read+len(data) },
			timeout: func(c *Conn) {
				fired <- firing{time.Since(last), read}
				if read < bytes { // a loaded machine may be silent between two of them, too
					c.SetDeadline(idle)
				}
			},
		})
		for range bytes {
			time.Sleep(idle / 10)
			peer.Write([]byte("x"))
		}
		for over := false; !over; {
			f := receive(t, "HandleTimeout", fired)
			if f.read > 0 && f.quiet < idle-10*time.Millisecond {
				t.Errorf("fired %v after byte %d", f.quiet, f.read)
			}
			over = f.read == bytes
		}
		time.Sleep(2 * idle)
		if len(fired) != 0 {
			t.Error("fired twice")
		}
		on(t, c, func() { c.SetDeadline(time.Hour); c.SetDeadline(20 * time.Millisecond) })
		receive(t, "HandleTimeout", fired)
		on(t, c, func() { c.SetDeadline(50 * time.Millisecond); c.SetDeadline(0) })
		time.Sleep(100 * time.Millisecond)
		if len(fired) != 0 {
			t.Error("fired after it was ended")
		}
	})
}

// A connection that turns out to be plain HTTP is given to net/http with what was read of it.
func TestDetach(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		g := newGroup(t, w.with(Options{}))
		hl := &handover{conns: make(chan net.Conn), quit: make(chan struct{})}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "hello "+r.URL.Path)
		})}
		go server.Serve(hl)
		defer server.Close()
		addr := listen(t, g, func(netip.AddrPort) Handler {
			return &hooks{
				data: func(c *Conn, data []byte) {
					left := bytes.Clone(data)
					nc, err := c.Detach()
					if err != nil {
						t.Error(err)
						return
					}
					if _, ok := nc.(*net.TCPConn); !ok {
						t.Errorf("%T", nc)
					}
					if _, err := c.Detach(); err != ErrNotOpen {
						t.Error("second Detach:", err)
					}
					go func() { hl.conns <- &prefixed{nc, left} }()
				},
				close: func(*Conn, error) { t.Error("HandleClose of a detached connection") },
			}
		})
		client := &http.Client{Transport: &http.Transport{}}
		defer client.CloseIdleConnections()
		for _, path := range []string{"/a", "/b"} {
			r, err := client.Get("http://" + addr + path)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(r.Body)
			r.Body.Close()
			if string(body) != "hello "+path {
				t.Errorf("%q", body)
			}
		}
		if s := g.Stats(); s.Detached != 1 || s.Connections != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// prefixed gives bytes back that were read already.
type prefixed struct {
	net.Conn
	left []byte
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.left) > 0 {
		n := copy(b, p.left)
		p.left = p.left[n:]
		return n, nil
	}
	return p.Conn.Read(b)
}

// handover is a net.Listener fed with connections.
type handover struct {
	conns chan net.Conn
	quit  chan struct{}
	once  sync.Once
}

func (h *handover) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.quit:
		return nil, net.ErrClosed
	}
}
func (h *handover) Close() error   { h.once.Do(func() { close(h.quit) }); return nil }
func (h *handover) Addr() net.Addr { return &net.TCPAddr{} }
