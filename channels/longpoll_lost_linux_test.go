package channels_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
)

// TestLongPollAnswerLost: a client that closes its connection while an answer is on its
// way is gone after the grace. One that has read the answer is not, even if it closes the
// connection too.
func TestLongPollAnswerLost(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		for _, read := range []bool{false, true} {
			so := longPolling
			so.Grace = 100 * time.Millisecond
			s := serve(t, o, channels.SocketOptions{LongPoll: so}, rooms()...)
			c := s.polls(t)
			c.join("quiet:1")
			c.post(`["1","2","quiet:1","echo",{}]`) // the poll is answered at once
			conn, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "GET /socket/longpoll?vsn=2.0.0 HTTP/1.1\r\nHost: a\r\nX-Phoenix-Longpoll-Token: %s\r\n\r\n", c.token)
			r := bufio.NewReaderSize(conn, 16)
			if _, err := r.Peek(1); err != nil {
				t.Fatal(err)
			}
			if read {
				answer, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Fatal(err)
				}
				b := make([]byte, answer.ContentLength)
				for n := 0; n < len(b); {
					got, err := answer.Body.Read(b[n:])
					if n += got; err != nil && n < len(b) {
						t.Fatal(err)
					}
				}
			}
			conn.Close() // with a reset, if the system has bytes that were not read
			if !read {
				waitFor(t, "the end of the session", func() bool { return s.Stats().LongPoll.Expired == 1 && s.Stats().Channels == 0 })
				continue
			}
			time.Sleep(5 * so.Grace)
			if n := s.Stats().LongPoll.Sessions; n != 1 {
				t.Errorf("%d sessions after a client has closed the connection of an answer that it has read", n)
			}
			c.post(`["1","3","quiet:1","echo",{}]`)
			c.assertNext("1", "3", "quiet:1", "phx_reply", "ok {}")
		}
	})
}

// TestLongPollAnswerTaken: a client that keeps its connection and has read its answers is
// not gone after the grace, although the system acknowledges the last of them late: net/http
// stops looking for the end of the connection before that.
func TestLongPollAnswerTaken(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		so := longPolling
		so.Grace = 100 * time.Millisecond
		s := serve(t, o, channels.SocketOptions{LongPoll: so}, rooms()...)
		c := s.polls(t)
		c.join("quiet:1")
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		r := bufio.NewReader(conn)
		for n := range 8 { // a new connection acknowledges its first packets at once
			c.post(fmt.Sprintf(`["1","%d","quiet:1","echo",{}]`, n+2))
			fmt.Fprintf(conn, "GET /socket/longpoll?vsn=2.0.0 HTTP/1.1\r\nHost: a\r\nX-Phoenix-Longpoll-Token: %s\r\n\r\n", c.token)
			answer, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, answer.Body); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * so.Grace)
		if n := s.Stats().LongPoll.Sessions; n != 1 {
			t.Errorf("%d sessions after a client that keeps its connection has read its answers", n)
		}
	})
}
