package forward

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// pollConn is a connection to another node for polls, one at a time.
type pollConn struct {
	net.Conn
	address string
	reader  *bufio.Reader
	idle    *time.Timer // closes it while the pool keeps it
}

// ask sends the head of a request and reads that of the answer. It closes the connection
// if it fails.
func (c *pollConn) ask(r *http.Request, head []byte) (*http.Response, error) {
	c.SetDeadline(time.Now().Add(answerTimeout)) //nolint:errcheck // what follows fails then
	stop := context.AfterFunc(r.Context(), func() { c.Close() })
	_, err := c.Write(head)
	var answer *http.Response
	if err == nil {
		answer, err = http.ReadResponse(c.reader, r)
	}
	// A client may close its connection as soon as it has the answer, so from here on
	// that does not count.
	if !stop() && err == nil {
		err = r.Context().Err()
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	c.SetDeadline(time.Now().Add(writeTimeout)) //nolint:errcheck // as above
	return answer, nil
}

// confirm tells the node that the client was given the answer, and reports whether the
// connection can be used again.
func (c *pollConn) confirm(rest io.Reader) bool {
	if _, err := c.Write([]byte{taken}); err != nil {
		return false
	}
	n, err := io.Copy(io.Discard, rest) // its end
	return n == 0 && err == nil && c.reader.Buffered() == 0
}

// pool keeps connections for polls.
type pool struct {
	mu     sync.Mutex
	idle   map[string][]*pollConn // by address, the most recently used last; guarded by mu
	closed bool                   // guarded by mu
}

// get returns a connection to an address, nil if none is kept.
func (p *pool) get(address string) *pollConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.idle[address]
	if len(list) == 0 {
		return nil
	}
	c := list[len(list)-1]
	p.remove(c)
	c.idle.Stop()
	return c
}

// put keeps a connection for a while, or closes it.
func (p *pool) put(c *pollConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle[c.address]) >= idleConns {
		c.Close()
		return
	}
	if p.idle == nil {
		p.idle = make(map[string][]*pollConn)
	}
	p.idle[c.address] = append(p.idle[c.address], c)
	c.idle = time.AfterFunc(idleTimeout, func() { p.expire(c) })
}

func (p *pool) expire(c *pollConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.remove(c) {
		c.Close()
	}
}

// remove takes a connection out, and reports whether it was in. The caller holds mu.
func (p *pool) remove(c *pollConn) bool {
	list := p.idle[c.address]
	for i := range list {
		if list[i] == c {
			list[i] = list[len(list)-1]
			list[len(list)-1] = nil
			if list = list[:len(list)-1]; len(list) == 0 {
				delete(p.idle, c.address)
			} else {
				p.idle[c.address] = list
			}
			return true
		}
	}
	return false
}

// close closes all kept connections, and keeps no more.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, list := range p.idle {
		for _, c := range list {
			c.idle.Stop()
			c.Close()
		}
	}
	p.idle = nil
}
