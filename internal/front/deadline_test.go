package front

import (
	"bufio"
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/netloop"
)

// The context is the one of context.WithTimeout to whoever looks at it.
func TestLateDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		deadline := time.Now().Add(time.Second)
		if d, ok := (&lateDeadline{deadline: deadline}).Deadline(); !ok || !d.Equal(deadline) {
			t.Errorf("the deadline is %v, %v", d, ok)
		}
		expires := &lateDeadline{deadline: deadline}
		child, stop := context.WithCancel(expires)
		defer stop()
		if err := child.Err(); err != nil {
			t.Error(err)
		}
		<-child.Done()
		if err := context.Cause(child); err != context.DeadlineExceeded || time.Now().Before(deadline) {
			t.Errorf("%v at %v", err, time.Until(deadline))
		}
		if err := (&lateDeadline{deadline: deadline}).Err(); err != context.DeadlineExceeded {
			t.Errorf("looked at too late: %v", err)
		}
		for _, before := range []bool{false, true} {
			ended := &lateDeadline{deadline: time.Now().Add(time.Second)}
			if before {
				ended.Done()
			}
			ended.end()
			select {
			case <-ended.Done():
			default:
				t.Error("Connect is over, and its context is not done")
			}
			if err := ended.Err(); err != context.Canceled {
				t.Error(err)
			}
		}
	})
}

// A client that took nearly all its time to send its request leaves Connect no less of its own.
func TestConnectHasItsOwnTime(t *testing.T) {
	s := serve(t, false, admission.Limits{}, mayBlock)
	loop := s.options.Loops.Loops()[0]
	ours, theirs := net.Pipe()
	theirs.SetDeadline(time.Now().Add(patience))
	defer theirs.Close()
	a := &capturedArrival{arrival: arrival{front: s.Front}, conn: make(chan *netloop.Conn, 1)}
	if err := loop.Adopt(ours, nil, a); err != nil {
		t.Fatal(err)
	}
	c := <-a.conn
	loop.Post(netloop.TaskFunc(func() {
		a.until = loop.Now().Add(100 * time.Millisecond)
		head := upgrade("block")
		a.HandleData(c, []byte(head[:10]))
		a.HandleData(c, []byte(head[10:]))
	}))
	<-s.mount.blocked
	time.Sleep(500 * time.Millisecond)
	close(s.mount.goOn)
	if status, _, _ := (&client{theirs, bufio.NewReader(theirs)}).answer(t); status != 101 {
		t.Errorf("status %d", status)
	}
}

// capturedArrival is an arrival that says which connection it has.
type capturedArrival struct {
	arrival
	conn chan *netloop.Conn
}

func (a *capturedArrival) HandleOpen(c *netloop.Conn) {
	a.arrival.HandleOpen(c)
	a.conn <- c
}
