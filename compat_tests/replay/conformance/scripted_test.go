package conformance

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// scripted is a server that plays the server's side of a recording: it waits for each
// action, in order, and answers with the observations.
type scripted struct {
	listener net.Listener
	steps    []Step
	stop     chan struct{}
	done     chan struct{}

	conns map[int]*serverConn
	held  map[string]net.Conn // async requests without an answer
	asked map[string]time.Time

	mu  sync.Mutex
	all []net.Conn
}

// serverConn is the server's end of a client.
type serverConn struct {
	net.Conn
	reader  *bufio.Reader
	refused bool
	closed  bool
}

// newScripted starts a server for the steps. It stops with the test, or with close.
func newScripted(t *testing.T, steps []Step) *scripted {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scripted{listener: l, steps: steps, stop: make(chan struct{}), done: make(chan struct{})}
	go s.serve()
	return s
}

func (s *scripted) addr() string { return s.listener.Addr().String() }

func (s *scripted) close() {
	close(s.stop)
	_ = s.listener.Close()
	s.mu.Lock()
	for _, c := range s.all {
		_ = c.Close()
	}
	s.mu.Unlock()
	<-s.done
}

// serve plays the recording again and again, as long as something connects.
func (s *scripted) serve() {
	defer close(s.done)
	for !s.stopped() {
		s.play()
		s.mu.Lock()
		for _, c := range s.all {
			_ = c.Close()
		}
		s.all = nil
		s.mu.Unlock()
	}
}

func (s *scripted) stopped() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// play plays the recording once. It stops if a client does something that was not
// recorded; the play under test then fails for lack of answers.
func (s *scripted) play() {
	s.conns, s.held, s.asked = map[int]*serverConn{}, map[string]net.Conn{}, map[string]time.Time{}
	var began time.Time
	for i := range s.steps {
		step := &s.steps[i]
		var err error
		if step.isAction() {
			began = time.Now()
			err = s.await(step)
		} else {
			err = s.emit(step, began)
		}
		if err != nil {
			return
		}
	}
	s.drain()
}

// drain keeps reading, as a server would, and closes when the clients do.
func (s *scripted) drain() {
	var group sync.WaitGroup
	for _, c := range s.conns {
		group.Go(func() {
			_, _ = io.Copy(io.Discard, c.reader)
			_ = c.Close()
		})
	}
	group.Wait()
	if len(s.conns) == 0 {
		<-s.stop // a client that only polls does not tell when it is done
	}
}

func (s *scripted) accept() (net.Conn, error) {
	c, err := s.listener.Accept()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.all = append(s.all, c)
	s.mu.Unlock()
	return c, nil
}

func (s *scripted) sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case <-s.stop:
	}
}

// await reads the client's action.
func (s *scripted) await(step *Step) error {
	switch {
	case step.Wait != nil, step.Listen != nil:
		return nil // only the client knows when
	case step.Open != nil:
		return s.awaitOpen(step)
	case step.HTTP != nil:
		return s.awaitRequest(step)
	}
	c := s.conns[step.Client]
	if c == nil || c.refused || c.closed {
		return nil // sending on a closed connection does nothing
	}
	if step.Drop {
		_, err := io.Copy(io.Discard, c.reader)
		return err
	}
	for range frameCount(step) {
		if _, err := readFrame(c.reader); err != nil {
			return err
		}
	}
	return nil
}

func frameCount(step *Step) int {
	switch {
	case step.SendMany != nil:
		return len(step.SendMany)
	case step.Frames != nil:
		return len(step.Frames)
	}
	return 1
}

func (s *scripted) awaitOpen(step *Step) error {
	conn, err := s.accept()
	if err != nil {
		return err
	}
	c := &serverConn{Conn: conn, reader: bufio.NewReader(conn)}
	s.conns[step.Client] = c
	if err := readHead(c.reader, step.Open.Body); err != nil {
		return err
	}
	for range step.Open.Early {
		if _, err := readFrame(c.reader); err != nil {
			return err
		}
	}
	return nil
}

// readHead reads a request head without net/http, which would refuse some of the recorded
// ones.
func readHead(r *bufio.Reader, body *string) error {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		if strings.TrimSpace(line) == "" {
			break
		}
	}
	if body == nil {
		return nil
	}
	_, err := io.CopyN(io.Discard, r, int64(len(fill(*body))))
	return err
}

func (s *scripted) awaitRequest(step *Step) error {
	conn, err := s.accept()
	if err != nil {
		return err
	}
	if err := readHead(bufio.NewReader(conn), step.HTTP.Body); err != nil {
		return err
	}
	name := step.Async // "" is the synchronous request
	s.held[name], s.asked[name] = conn, time.Now()
	return nil
}

// emit sends what was observed.
func (s *scripted) emit(step *Step, began time.Time) error {
	c := s.conns[step.Client]
	switch {
	case step.SilenceMs != nil:
		return nil // the next action comes after it
	case step.HTTPResponse != nil:
		return s.emitAnswer(step)
	case step.Opened != nil:
		c.refused = !step.Opened.Status.Has(101)
		_, err := c.Write(answerBytes(step.Opened))
		if c.refused {
			_ = c.Close()
		}
		return err
	case step.isEnd():
		return s.end(c)
	}
	if step.AfterMs != nil {
		s.sleep(time.Until(began.Add(time.Duration(*step.AfterMs) * time.Millisecond)))
	}
	f := serverFrame(step)
	c.closed = c.closed || f.opcode == opClose
	_, err := c.Write(f.appendTo(nil))
	return err
}

// end closes one direction, so that the client can still read everything.
func (s *scripted) end(c *serverConn) error {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	return nil
}

func (s *scripted) emitAnswer(step *Step) error {
	conn := s.held[step.Of]
	if conn == nil {
		return fmt.Errorf("no request is waiting")
	}
	delete(s.held, step.Of)
	if step.MsAbout != nil {
		s.sleep(time.Until(s.asked[step.Of].Add(time.Duration(*step.MsAbout) * time.Millisecond)))
	}
	_, err := conn.Write(answerBytes(step.HTTPResponse))
	_ = conn.Close()
	return err
}

func serverFrame(step *Step) rawFrame {
	f := rawFrame{fin: true}
	switch {
	case step.Recv != nil:
		f.opcode, f.payload = opText, []byte(fill(*step.Recv))
	case step.RecvBin != nil:
		f.opcode = opBinary
		f.payload, _ = hex.DecodeString(*step.RecvBin)
	case step.Pong != nil:
		f.opcode, f.payload = opPong, []byte(*step.Pong)
	case step.Closed != nil:
		code := step.Closed.Code[0]
		f.opcode, f.payload = opClose, closePayload(&code, step.Closed.Reason)
	}
	return f
}

// fill gives each placeholder a value of its own.
func fill(text string) string {
	return placeholderPattern.ReplaceAllStringFunc(expandRepeat(text), func(p string) string {
		return strings.NewReplacer("${", "value-of-", "}", "", ":", "-").Replace(p)
	})
}

// answerBytes returns an answer with the recorded headers.
func answerBytes(a *Answer) []byte {
	var out strings.Builder
	status := a.Status[0]
	fmt.Fprintf(&out, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	for name, value := range a.Headers {
		if name != "content-length" && name != "connection" && name != "date" && name != "transfer-encoding" {
			fmt.Fprintf(&out, "%s: %s\r\n", name, value)
		}
	}
	if status == 101 {
		fmt.Fprint(&out, "connection: Upgrade\r\n\r\n")
		return []byte(out.String())
	}
	body := ""
	if a.Body != nil {
		body = fill(*a.Body)
	}
	fmt.Fprintf(&out, "connection: close\r\ncontent-length: %d\r\n\r\n%s", len(body), body)
	return []byte(out.String())
}
