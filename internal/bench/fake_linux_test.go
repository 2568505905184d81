package bench

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// fakeServer speaks as much of the protocol as a run needs, and is as faulty
// as a test wants it.
type fakeServer struct {
	url    string
	mu     sync.Mutex
	joined []net.Conn
	count  int
	// answer is called for each message of a client that has joined, with mu held.
	answer func(c net.Conn, m message)
	// refuse is the answer to joins, if not ok.
	refuse string
	// status is that of the handshake, if not 101.
	status int
}

// startFake serves until the test ends.
func startFake(t *testing.T, s *fakeServer) *fakeServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.url = "ws://" + ln.Addr().String() + "/socket"
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				s.serve(c)
			})
		}
	})
	t.Cleanup(func() { ln.Close(); all.Wait() })
	return s
}

func (s *fakeServer) serve(c net.Conn) {
	r := bufio.NewReader(c)
	if _, err := http.ReadRequest(r); err != nil {
		return
	}
	if s.status != 0 {
		fmt.Fprintf(c, "HTTP/1.1 %d %s\r\nContent-Length: 0\r\n\r\n", s.status, http.StatusText(s.status))
		return
	}
	fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", handshakeAccept)
	for {
		text, err := wsutil.ReadClientText(struct {
			io.Reader
			io.Writer
		}{r, c})
		if err != nil {
			return
		}
		m, ok := parseMessage(text)
		if !ok {
			return
		}
		s.handle(c, m)
	}
}

func (s *fakeServer) handle(c net.Conn, m message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch string(m.event) {
	case "phx_join":
		if s.refuse != "" {
			s.reply(c, m, s.refuse)
			return
		}
		s.joined = append(s.joined, c)
		s.reply(c, m, `{"status":"ok","response":{}}`)
	default:
		s.answer(c, m)
		s.count++
	}
}

func (s *fakeServer) reply(c net.Conn, m message, payload string) {
	joinRef := "null"
	if m.joinRef != nil {
		joinRef = `"` + string(m.joinRef) + `"`
	}
	s.send(c, fmt.Sprintf(`[%s,"%s","%s","phx_reply",%s]`, joinRef, m.ref, m.topic, payload))
}

func (s *fakeServer) send(c net.Conn, text string) { _ = wsutil.WriteServerText(c, []byte(text)) }

// broadcast is what a right server does.
func (s *fakeServer) broadcast(_ net.Conn, m message) {
	for _, c := range s.joined {
		s.deliver(c, m)
	}
}

func (s *fakeServer) deliver(c net.Conn, m message) {
	s.send(c, fmt.Sprintf(`[null,null,"%s","%s",%s`, m.topic, m.event, m.payload))
}

// exhausted is the patience of a run that is to run out of it. A busy machine needs some of
// it for the joins.
const exhausted = 5 * time.Second

// quick are options of a small run.
func quick(mode Mode, url string) *Options {
	o := defaults(mode)
	o.URLs, o.Connections, o.Settle, o.Event, o.Topic = []string{url}, 3, 0, "msg", "room:a"
	o.Patience, o.Duration, o.Heartbeat = 30*time.Second, 100*time.Millisecond, 0
	if mode == Broadcast {
		o.Messages, o.Duration = 20, 0
	}
	return o
}

// execute runs o, which must be valid.
func execute(t *testing.T, o *Options) *Report {
	t.Helper()
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	r, err := Run(t.Context(), o, nil, &stderr)
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	return r
}

func TestFakeServerIsRight(t *testing.T) {
	s := startFake(t, new(fakeServer))
	s.answer = s.broadcast
	r := execute(t, quick(Broadcast, s.url))
	if !r.OK || r.Run.Delivered != 60 || r.Run.Expected != 60 || r.Run.Copies != 20 || r.Run.Latency.Count != 60 {
		t.Errorf("%+v\n%+v", r, r.Run)
	}
}

// What a server does wrong is found, and counted exactly. Each fault befalls
// one receiver.
func TestFaultsAreFound(t *testing.T) {
	t.Parallel()
	var held message
	tests := []struct {
		name     string
		faulty   func(s *fakeServer, c net.Conn, m message)
		lost     int64
		late     int64
		twice    int64
		stray    int64
		problem  string
		openLoop bool
	}{
		{name: "lost in the middle", openLoop: true, lost: 1, problem: "1 messages lost", faulty: func(s *fakeServer, c net.Conn, m message) {
			if s.count != 7 {
				s.deliver(c, m)
			}
		}},
		{name: "lost at the end", openLoop: true, lost: 2, problem: "2 messages lost", faulty: func(s *fakeServer, c net.Conn, m message) {
			if s.count < 18 {
				s.deliver(c, m)
			}
		}},
		{name: "reordered", openLoop: true, late: 1, problem: "1 messages out of order", faulty: func(s *fakeServer, c net.Conn, m message) {
			switch s.count {
			case 7:
				held = message{topic: []byte(string(m.topic)), event: []byte(string(m.event)), payload: []byte(string(m.payload))}
			case 8:
				s.deliver(c, m)
				s.deliver(c, held)
			default:
				s.deliver(c, m)
			}
		}},
		{name: "twice", twice: 1, problem: "1 messages delivered twice", faulty: func(s *fakeServer, c net.Conn, m message) {
			s.deliver(c, m)
			if s.count == 7 {
				s.deliver(c, m)
			}
		}},
		{name: "without its mark", stray: 1, problem: "1 messages on the wrong topic", faulty: func(s *fakeServer, c net.Conn, m message) {
			if s.count == 7 {
				s.deliver(c, message{topic: m.topic, event: m.event, payload: []byte("{}]")})
			}
			s.deliver(c, m)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := startFake(t, new(fakeServer))
			s.answer = func(c net.Conn, m message) {
				victim := false
				for _, to := range s.joined {
					// The publisher is one of those who have joined too.
					if to != c && !victim {
						victim = true
						test.faulty(s, to, m)
						continue
					}
					s.deliver(to, m)
				}
			}
			o := quick(Broadcast, s.url)
			if test.openLoop {
				o.Rate, o.Patience = 500, exhausted
			}
			r := execute(t, o)
			if r.OK || r.Run.Lost != test.lost || r.Run.Late != test.late || r.Run.Twice != test.twice || r.Run.Stray != test.stray ||
				!strings.Contains(strings.Join(r.Problems, "\n"), test.problem) {
				t.Errorf("%v\n%+v", r.Problems, r.Run)
			}
		})
	}
}

// A closed loop ends when a server stops delivering.
func TestStuckServer(t *testing.T) {
	t.Parallel()
	s := startFake(t, new(fakeServer))
	s.answer = func(c net.Conn, m message) {
		if s.count < 5 {
			s.broadcast(c, m)
		}
	}
	o := quick(Broadcast, s.url)
	o.Patience = exhausted
	r := execute(t, o)
	if r.OK || r.Run.Sent != 6 || r.Run.Lost != 3 || !strings.Contains(r.Problems[0], "no progress for 5s") {
		t.Errorf("%v\n%+v", r.Problems, r.Run)
	}
}

// Answers to heartbeats are no progress.
func TestOnlyHeartbeats(t *testing.T) {
	t.Parallel()
	s := startFake(t, new(fakeServer))
	s.answer = func(c net.Conn, m message) {
		if string(m.event) == "heartbeat" {
			s.reply(c, m, `{"status":"ok","response":{}}`)
		}
	}
	o := quick(Broadcast, s.url)
	o.Patience, o.Heartbeat = exhausted, 50*time.Millisecond
	r := execute(t, o)
	if r.OK || r.Run.Sent != 1 || r.Run.Lost != 3 || !strings.Contains(r.Problems[0], "no progress for 5s") || r.Run.HeartbeatsAnswered == 0 {
		t.Errorf("%v\n%+v", r.Problems, r.Run)
	}
}

// A connection that ends does not hold up the others; what it misses is lost.
func TestConnectionEnds(t *testing.T) {
	s := startFake(t, new(fakeServer))
	s.answer = func(c net.Conn, m message) {
		if s.count == 5 {
			for i, to := range s.joined {
				if to != c {
					_ = ws.WriteFrame(to, ws.NewCloseFrame(ws.NewCloseFrameBody(1008, "too slow")))
					s.joined = append(s.joined[:i], s.joined[i+1:]...)
					break
				}
			}
		}
		s.broadcast(c, m)
	}
	r := execute(t, quick(Broadcast, s.url))
	if r.OK || r.Run.Sent != 20 || r.Run.Lost != 15 || r.Run.Ended != 1 || r.Errors["the server closed the connection with 1008 (policy): too slow"] != 1 {
		t.Errorf("%v %v\n%+v", r.Problems, r.Errors, r.Run)
	}
}

func TestRefusals(t *testing.T) {
	s := startFake(t, &fakeServer{refuse: `{"status":"error","response":{"reason":"denied"}}`})
	r := execute(t, quick(Join, s.url))
	if r.OK || r.Open.Failed != 3 || r.Errors[`while joining: refused: {"status":"error","response":{"reason":"denied"}}`] != 3 {
		t.Errorf("%v %v", r.Problems, r.Errors)
	}
	s = startFake(t, &fakeServer{status: 503})
	r = execute(t, quick(Idle, s.url))
	if r.OK || r.Open.Failed != 3 || r.Errors[`in the handshake: the server answered "HTTP/1.1 503 Service Unavailable"`] != 3 {
		t.Errorf("%v %v", r.Problems, r.Errors)
	}
	r = execute(t, quick(Join, "ws://127.0.0.1:1/socket"))
	if r.OK || r.Open.Failed != 3 || r.Errors["connect: connection refused"] != 3 {
		t.Errorf("%v %v", r.Problems, r.Errors)
	}
}

// Requests that are answered with an error, twice or not at all are found.
func TestEchoFaults(t *testing.T) {
	t.Parallel()
	s := startFake(t, new(fakeServer))
	ok, bad := `{"status":"ok","response":{}}`, `{"status":"error","response":{"reason":"no"}}`
	s.answer = func(c net.Conn, m message) {
		switch s.count {
		case 10:
			s.reply(c, m, ok)
			s.reply(c, m, ok)
		case 20:
			s.reply(c, m, bad)
		case 30:
		default:
			s.reply(c, m, ok)
		}
	}
	o := quick(Echo, s.url)
	o.Rate, o.Duration, o.Patience = 500, 200*time.Millisecond, exhausted
	r := execute(t, o)
	if r.Run == nil {
		t.Fatalf("%v %v", r.Problems, r.Errors)
	}
	if r.OK || r.Run.Sent != 100 || r.Run.Lost != 1 || r.Run.Twice != 1 || r.Errors["a request was answered with "+bad] != 1 {
		t.Errorf("%v %v\n%+v", r.Problems, r.Errors, r.Run)
	}
}

// A server that pauses for a while shows in the latencies of all that was due.
func TestPauseShows(t *testing.T) {
	const pause = 300 * time.Millisecond
	s := startFake(t, new(fakeServer))
	s.answer = func(c net.Conn, m message) {
		if s.count == 50 {
			time.Sleep(pause)
		}
		s.reply(c, m, `{"status":"ok","response":{}}`)
	}
	o := quick(Echo, s.url)
	o.Rate, o.Duration = 500, 600*time.Millisecond // half of all are due in the pause
	r := execute(t, o)
	if !r.OK || r.Run.Delivered != 300 || r.Run.Latency.P90 < 200e3 {
		t.Errorf("%v: %v", r.Problems, r.Run.Latency)
	}
}
