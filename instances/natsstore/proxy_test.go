package natsstore_test

import (
	"net"
	"sync"
	"testing"
	"time"
)

// proxy relays one worker's connections to a server. While a direction is cut, its bytes
// wait in buffers; they arrive when the cut is over.
type proxy struct {
	listener net.Listener
	target   string
	work     sync.WaitGroup

	mu    sync.Mutex
	open  [2]chan struct{} // closed: the direction is not cut; guarded by mu
	conns map[net.Conn]bool
}

// Directions of a proxy.
const (
	toServer = iota
	toWorker
)

func startProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: target, conns: map[net.Conn]bool{}}
	for i := range p.open {
		p.open[i] = make(chan struct{})
		close(p.open[i])
	}
	p.work.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *proxy) accept() {
	for {
		worker, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.keep(worker)
		p.work.Go(func() {
			defer p.drop(worker)
			p.await(toServer)
			server, err := net.DialTimeout("tcp", p.target, time.Second)
			if err != nil {
				return
			}
			p.keep(server)
			defer p.drop(server)
			var both sync.WaitGroup
			both.Go(func() { p.carry(toWorker, worker, server) })
			p.carry(toServer, server, worker)
			both.Wait()
		})
	}
}

// carry copies until one side closes, and then closes the other.
func (p *proxy) carry(direction int, to, from net.Conn) {
	defer to.Close()
	buf := make([]byte, 256<<10)
	for {
		n, err := from.Read(buf)
		p.await(direction)
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				from.Close()
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *proxy) await(direction int) {
	p.mu.Lock()
	open := p.open[direction]
	p.mu.Unlock()
	<-open
}

// cut begins or ends the cut of a direction. A repeated call does nothing.
func (p *proxy) cut(direction int, cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open[direction]:
		if cut {
			p.open[direction] = make(chan struct{})
		}
	default:
		if !cut {
			close(p.open[direction])
		}
	}
}

func (p *proxy) keep(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = true
}

func (p *proxy) drop(c net.Conn) {
	c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *proxy) close() {
	p.listener.Close()
	for direction := range p.open {
		p.cut(direction, false)
	}
	p.mu.Lock()
	for c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.work.Wait()
}
