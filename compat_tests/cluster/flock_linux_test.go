package cluster

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws/wsutil"
)

// flockEnv has the plan of a process that is a flock.
const flockEnv = "MYCELIUM_TEST_FLOCK"

// flockPlan is what a flock does.
type flockPlan struct {
	Addresses []string // of the servers; each client stays with one
	Secure    bool     // over TLS
	First     int      // number of the first client
	Clients   int
	Jitter    bool // pauses are random
	Chat      bool // its clients come back at once, chat, and note how long messages take
}

// flockReport is what a flock says when it is asked to end.
type flockReport struct {
	JoinedAt     []int64 // when each client has joined last, in Unix nanoseconds
	Refused      int64   // answers with 503
	Lost         int64   // connections that ended before the answer to the join, or were never made
	Attempts     int64   // to connect, since all had joined for the first time
	JoinTimeouts int64
	Chat         [][2]int64 // when a message was received, and how long it has taken
}

// flock is a process that is many clients.
type flock struct {
	t      *testing.T
	size   int64
	stdin  io.WriteCloser
	joined atomic.Int64 // how many of its clients are joined now
	once   sync.Once
	done   chan struct{}
	last   flockReport
}

// startFlock starts a flock, which ends with the test at the latest.
func startFlock(t *testing.T, p flockPlan) *flock {
	t.Helper()
	plan, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), flockEnv+"="+string(plan))
	command.Stderr = os.Stderr
	f := &flock{t: t, size: int64(p.Clients), done: make(chan struct{})}
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if f.stdin, err = command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(f.done)
		defer command.Wait()
		f.follow(bufio.NewReader(stdout))
	}()
	t.Cleanup(func() { f.report() })
	return f
}

// follow reads how many are joined, and then the report.
func (f *flock) follow(r *bufio.Reader) {
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return
		}
		var n int64
		if json.Unmarshal(line, &n) == nil {
			f.joined.Store(n)
		} else if err := json.Unmarshal(line, &f.last); err != nil {
			f.t.Errorf("a flock says %.100q: %v", line, err)
		}
	}
}

// awaitJoined waits until all clients are joined.
func (f *flock) awaitJoined() {
	f.t.Helper()
	wait(f.t, "all clients have joined", func() bool { return f.joined.Load() == f.size })
}

// report ends the flock.
func (f *flock) report() flockReport {
	f.once.Do(func() { f.stdin.Close() })
	<-f.done
	return f.last
}

// latencies returns how long the messages of a time have taken.
func (r *flockReport) latencies(from, to time.Time) (took []time.Duration) {
	for _, m := range r.Chat {
		if at := time.Unix(0, m[0]); at.After(from) && at.Before(to) {
			took = append(took, time.Duration(m[1]))
		}
	}
	return took
}

// runFlock is the process of a flock, if this is one. It does not return then.
func runFlock() {
	text, is := os.LookupEnv(flockEnv)
	if !is {
		return
	}
	r := &roost{}
	if err := json.Unmarshal([]byte(text), &r.plan); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	r.joinedAt = make([]atomic.Int64, r.plan.Clients)
	for i := range r.plan.Clients {
		go (&bird{roost: r, number: i, random: rand.New(rand.NewPCG(uint64(r.plan.First), uint64(i)))}).live()
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		io.Copy(io.Discard, os.Stdin)
	}()
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		select {
		case <-tick.C:
			n := r.joined.Load()
			if int(n) == r.plan.Clients {
				r.settled.Store(true)
			}
			fmt.Println(n)
			continue
		case <-ended:
		}
		break
	}
	if err := json.NewEncoder(os.Stdout).Encode(r.report()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// roost is what the clients of a flock share, in its process.
type roost struct {
	plan     flockPlan
	settled  atomic.Bool // all have joined once
	joined   atomic.Int64
	joinedAt []atomic.Int64

	refused, lost, attempts, timeouts atomic.Int64

	mu   sync.Mutex
	chat [][2]int64 // guarded by mu
}

func (r *roost) report() flockReport {
	r.mu.Lock()
	defer r.mu.Unlock()
	report := flockReport{
		Refused: r.refused.Load(), Lost: r.lost.Load(), Attempts: r.attempts.Load(), JoinTimeouts: r.timeouts.Load(), Chat: r.chat,
	}
	for i := range r.joinedAt {
		report.JoinedAt = append(report.JoinedAt, r.joinedAt[i].Load())
	}
	return report
}

// bird is one client. It comes back as phoenix.js does.
type bird struct {
	roost  *roost
	number int
	random *rand.Rand
	tries  int // since it was connected
}

// The steps of phoenix.js (assets/js/phoenix/socket.js, reconnectAfterMs), in milliseconds,
// and how long it waits for the answer to a join.
var reconnectSteps = []int{10, 50, 100, 150, 200, 250, 500, 1000, 2000, 5000}

const joinPatience = 10 * time.Second

// live connects again and again.
func (b *bird) live() {
	for {
		b.visit()
		time.Sleep(b.pause())
	}
}

// pause returns how long to wait before the next attempt.
func (b *bird) pause() time.Duration {
	step := reconnectSteps[min(b.tries, len(reconnectSteps)-1)]
	b.tries++
	switch {
	case b.roost.plan.Chat:
		step = 10
	case b.roost.plan.Jitter: // as docs/operations.md has it
		step = step/2 + b.random.IntN(step+1)
	}
	return time.Duration(step) * time.Millisecond
}

// visit is one connection.
func (b *bird) visit() {
	r := b.roost
	if r.settled.Load() {
		r.attempts.Add(1)
	}
	conn, err := b.dial()
	if err != nil {
		r.lost.Add(1)
		return
	}
	defer conn.Close()
	reader := bufio.NewReaderSize(conn, 512)
	if !b.upgrade(conn, reader) {
		return
	}
	b.tries = 0
	if !b.join(conn, reader) {
		return
	}
	r.joinedAt[b.number].Store(time.Now().UnixNano())
	r.joined.Add(1)
	defer r.joined.Add(-1)
	if b.roost.plan.Chat && b.number == 0 {
		go b.talk(conn)
	}
	b.listen(reader)
}

func (b *bird) dial() (net.Conn, error) {
	address := b.roost.plan.Addresses[(b.roost.plan.First+b.number)%len(b.roost.plan.Addresses)]
	conn, err := net.Dial("tcp", address)
	if err != nil || !b.roost.plan.Secure {
		return conn, err
	}
	secured := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the certificate is the test's
	if err := secured.Handshake(); err != nil {
		conn.Close()
		return nil, err
	}
	return secured, nil
}

// upgrade makes a WebSocket of the connection.
func (b *bird) upgrade(conn net.Conn, reader *bufio.Reader) bool {
	const request = "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
	if _, err := io.WriteString(conn, request); err != nil {
		b.roost.lost.Add(1)
		return false
	}
	answer, err := http.ReadResponse(reader, nil)
	switch {
	case err != nil:
		b.roost.lost.Add(1)
	case answer.StatusCode == http.StatusServiceUnavailable:
		b.roost.refused.Add(1)
	default:
		return answer.StatusCode == http.StatusSwitchingProtocols
	}
	return false
}

// join joins the client's room.
func (b *bird) join(conn net.Conn, reader *bufio.Reader) bool {
	topic := fmt.Sprintf("room:%d", (b.roost.plan.First+b.number)/stormRoom)
	if b.roost.plan.Chat {
		topic = "room:probe"
	}
	if err := wsutil.WriteClientText(conn, fmt.Appendf(nil, `["1","1",%q,"phx_join",{}]`, topic)); err != nil {
		b.roost.lost.Add(1)
		return false
	}
	conn.SetReadDeadline(time.Now().Add(joinPatience))
	text, err := readText(reader)
	switch {
	case os.IsTimeout(err):
		b.roost.timeouts.Add(1)
		return false
	case err != nil:
		b.roost.lost.Add(1)
		return false
	}
	conn.SetReadDeadline(time.Time{})
	return strings.Contains(text, `"status":"ok"`)
}

// listen reads until the connection ends.
func (b *bird) listen(reader *bufio.Reader) {
	for {
		text, err := readText(reader)
		if err != nil {
			return
		}
		_, rest, found := strings.Cut(text, `{"at":`)
		var at int64
		if _, err := fmt.Sscan(strings.TrimSuffix(rest, "}]"), &at); !found || err != nil {
			continue
		}
		now := time.Now().UnixNano()
		b.roost.mu.Lock()
		b.roost.chat = append(b.roost.chat, [2]int64{now, now - at})
		b.roost.mu.Unlock()
	}
}

// talk publishes a hundred times a second until the connection ends.
func (b *bird) talk(conn net.Conn) {
	for {
		text := fmt.Sprintf(`["1",null,"room:probe","at",{"at":%d}]`, time.Now().UnixNano())
		if wsutil.WriteClientText(conn, []byte(text)) != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// readText reads one short message of the server, which is not fragmented.
func readText(r *bufio.Reader) (string, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return "", err
	}
	size := int(head[1])
	switch {
	case size == 126:
		var more [2]byte
		if _, err := io.ReadFull(r, more[:]); err != nil {
			return "", err
		}
		size = int(more[0])<<8 | int(more[1])
	case size > 126:
		return "", fmt.Errorf("a message of more than 64 KiB")
	}
	text := make([]byte, size)
	_, err := io.ReadFull(r, text)
	return string(text), err
}
