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

// herdEnv holds the plan of a process that plays a herd.
const herdEnv = "MYCELIUM_TEST_HERD"

// herdPlan is what a herd does.
type herdPlan struct {
	Addresses []string // of the servers; each client stays with one
	Secure    bool     // over TLS
	First     int      // number of the first client
	Clients   int
	Jitter    bool // pauses are random
	Chat      bool // its clients reconnect at once, chat, and record how long messages take
}

// herdReport is what a herd reports when it is told to end.
type herdReport struct {
	JoinedAt     []int64 // when each client last joined, in Unix nanoseconds
	Refused      int64   // answers with 503
	Lost         int64   // attempts that failed, or connections that ended before the join was answered
	Attempts     int64   // attempts to connect since all had joined for the first time
	JoinTimeouts int64
	Chat         [][2]int64 // when a message was received and how long it took, in nanoseconds
}

// herd is a process that plays many clients, as its test sees it.
type herd struct {
	t      *testing.T
	size   int64
	stdin  io.WriteCloser
	joined atomic.Int64 // how many of its clients are joined now
	once   sync.Once
	done   chan struct{}
	last   herdReport
}

// startHerd starts a herd, which ends with the test at the latest.
func startHerd(t *testing.T, p herdPlan) *herd {
	t.Helper()
	plan, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), herdEnv+"="+string(plan))
	command.Stderr = os.Stderr
	h := &herd{t: t, size: int64(p.Clients), done: make(chan struct{})}
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if h.stdin, err = command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(h.done)
		defer command.Wait()
		h.follow(bufio.NewReader(stdout))
	}()
	t.Cleanup(func() { h.report() })
	return h
}

// follow reads how many are joined, and then the report.
func (h *herd) follow(r *bufio.Reader) {
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return
		}
		var n int64
		if json.Unmarshal(line, &n) == nil {
			h.joined.Store(n)
		} else if err := json.Unmarshal(line, &h.last); err != nil {
			h.t.Errorf("a herd printed %.100q: %v", line, err)
		}
	}
}

// awaitJoined waits until all clients are joined.
func (h *herd) awaitJoined() {
	h.t.Helper()
	wait(h.t, "all clients have joined", func() bool { return h.joined.Load() == h.size })
}

// report ends the herd.
func (h *herd) report() herdReport {
	h.once.Do(func() { h.stdin.Close() })
	<-h.done
	return h.last
}

// latencies returns how long the messages received between two times took.
func (r *herdReport) latencies(from, to time.Time) (took []time.Duration) {
	for _, m := range r.Chat {
		if at := time.Unix(0, m[0]); at.After(from) && at.Before(to) {
			took = append(took, time.Duration(m[1]))
		}
	}
	return took
}

// runHerd returns at once unless this process is a herd: then it plays the herd and exits.
func runHerd() {
	text, is := os.LookupEnv(herdEnv)
	if !is {
		return
	}
	p := &herdProcess{}
	err := json.Unmarshal([]byte(text), &p.plan)
	if err == nil {
		p.start()
		p.printJoined()
		err = json.NewEncoder(os.Stdout).Encode(p.report())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// start starts the clients.
func (p *herdProcess) start() {
	p.joinedAt = make([]atomic.Int64, p.plan.Clients)
	for i := range p.plan.Clients {
		go (&herdClient{herd: p, number: i, random: rand.New(rand.NewPCG(uint64(p.plan.First), uint64(i)))}).live()
	}
}

// printJoined prints every 20 ms how many clients are joined, until standard input ends.
func (p *herdProcess) printJoined() {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		io.Copy(io.Discard, os.Stdin)
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
		}
		n := p.joined.Load()
		if int(n) == p.plan.Clients {
			p.settled.Store(true)
		}
		fmt.Println(n)
	}
}

// herdProcess is what the clients of a herd share, in its process.
type herdProcess struct {
	plan     herdPlan
	settled  atomic.Bool // all have joined once
	joined   atomic.Int64
	joinedAt []atomic.Int64

	refused, lost, attempts, timeouts atomic.Int64

	mu   sync.Mutex
	chat [][2]int64 // guarded by mu
}

func (p *herdProcess) report() herdReport {
	p.mu.Lock()
	defer p.mu.Unlock()
	report := herdReport{
		Refused: p.refused.Load(), Lost: p.lost.Load(), Attempts: p.attempts.Load(), JoinTimeouts: p.timeouts.Load(), Chat: p.chat,
	}
	for i := range p.joinedAt {
		report.JoinedAt = append(report.JoinedAt, p.joinedAt[i].Load())
	}
	return report
}

// herdClient is one client. It reconnects as phoenix.js does.
type herdClient struct {
	herd   *herdProcess
	number int
	random *rand.Rand
	tries  int // failed attempts in a row
}

// The steps of phoenix.js (assets/js/phoenix/socket.js, reconnectAfterMs), in milliseconds,
// and how long it waits for the answer to a join.
var reconnectSteps = []int{10, 50, 100, 150, 200, 250, 500, 1000, 2000, 5000}

const joinPatience = 10 * time.Second

// live connects again and again.
func (c *herdClient) live() {
	for {
		c.visit()
		time.Sleep(c.pause())
	}
}

// pause returns how long to wait before the next attempt.
func (c *herdClient) pause() time.Duration {
	step := reconnectSteps[min(c.tries, len(reconnectSteps)-1)]
	c.tries++
	switch {
	case c.herd.plan.Chat:
		step = 10
	case c.herd.plan.Jitter: // as docs/operations.md advises
		step = step/2 + c.random.IntN(step+1)
	}
	return time.Duration(step) * time.Millisecond
}

// visit makes one connection and stays until it ends.
func (c *herdClient) visit() {
	r := c.herd
	if r.settled.Load() {
		r.attempts.Add(1)
	}
	conn, err := c.dial()
	if err != nil {
		r.lost.Add(1)
		return
	}
	defer conn.Close()
	reader := bufio.NewReaderSize(conn, 512)
	if !c.upgrade(conn, reader) {
		return
	}
	c.tries = 0
	if !c.join(conn, reader) {
		return
	}
	r.joinedAt[c.number].Store(time.Now().UnixNano())
	r.joined.Add(1)
	defer r.joined.Add(-1)
	if c.herd.plan.Chat && c.number == 0 {
		go c.talk(conn)
	}
	c.listen(reader)
}

func (c *herdClient) dial() (net.Conn, error) {
	address := c.herd.plan.Addresses[(c.herd.plan.First+c.number)%len(c.herd.plan.Addresses)]
	conn, err := net.Dial("tcp", address)
	if err != nil || !c.herd.plan.Secure {
		return conn, err
	}
	secured := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the certificate is the test's
	if err := secured.Handshake(); err != nil {
		conn.Close()
		return nil, err
	}
	return secured, nil
}

// upgrade turns the connection into a WebSocket.
func (c *herdClient) upgrade(conn net.Conn, reader *bufio.Reader) bool {
	const request = "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
	if _, err := io.WriteString(conn, request); err != nil {
		c.herd.lost.Add(1)
		return false
	}
	answer, err := http.ReadResponse(reader, nil)
	switch {
	case err != nil:
		c.herd.lost.Add(1)
	case answer.StatusCode == http.StatusServiceUnavailable:
		c.herd.refused.Add(1)
	default:
		return answer.StatusCode == http.StatusSwitchingProtocols
	}
	return false
}

// join joins the client's room.
func (c *herdClient) join(conn net.Conn, reader *bufio.Reader) bool {
	topic := fmt.Sprintf("room:%d", (c.herd.plan.First+c.number)/stormRoom)
	if c.herd.plan.Chat {
		topic = "room:probe"
	}
	if err := wsutil.WriteClientText(conn, fmt.Appendf(nil, `["1","1",%q,"phx_join",{}]`, topic)); err != nil {
		c.herd.lost.Add(1)
		return false
	}
	conn.SetReadDeadline(time.Now().Add(joinPatience))
	text, err := readText(reader)
	switch {
	case os.IsTimeout(err):
		c.herd.timeouts.Add(1)
		return false
	case err != nil:
		c.herd.lost.Add(1)
		return false
	}
	conn.SetReadDeadline(time.Time{})
	return strings.Contains(text, `"status":"ok"`)
}

// listen reads until the connection ends.
func (c *herdClient) listen(reader *bufio.Reader) {
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
		c.herd.mu.Lock()
		c.herd.chat = append(c.herd.chat, [2]int64{now, now - at})
		c.herd.mu.Unlock()
	}
}

// talk publishes a hundred times a second until the connection ends.
func (c *herdClient) talk(conn net.Conn) {
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
