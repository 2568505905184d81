package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// crowd is the clients of a trial, in rooms. Each connects to a node that is
// ready and joins its room; when it is cut off, it reconnects after a moment, as
// phoenix.js does. The first three clients of a room publish numbers.
type crowd struct {
	t     *testing.T
	nodes []*node
	rooms []*room
	work  sync.WaitGroup
	stop  context.CancelFunc

	delivered, pushed, rejoined atomic.Int64
	failures                    atomic.Int64
	mayMiss                     atomic.Bool  // the network fails for longer than nodes keep what they send
	gaps                        atomic.Int64 // numbers that were missing while mayMiss
}

// room is a topic and who is in it.
type room struct {
	topic   string
	members []*member

	mu   sync.Mutex
	runs map[string]*run // by name; guarded by mu
}

// pace is how much a publisher sends: burst numbers at a time, and how often.
type pace struct {
	every time.Duration
	burst int
}

// run is what a publisher sends over one connection: the numbers from 1.
type run struct {
	node   *node
	life   int
	mu     sync.Mutex
	pushed []time.Time // [i] is when number i+1 was sent
	acked  int         // the last number that was answered with ok
	over   bool
}

// member is one client.
type member struct {
	crowd     *crowd
	room      *room
	name      string
	publishes bool

	mu   sync.Mutex
	stay *stay // nil while it is not in its room
	runs int
}

// stay is one connection of a member, from its join to its end.
type stay struct {
	node     *node
	life     int
	since    time.Time
	conn     net.Conn
	got      map[string]*numbers          // by run
	present  map[string]map[string]string // by user and phx_ref
	hasState bool
	moves    map[string]*moves // by user: what diffs said since counting began
	run      *run              // what the member publishes; nil unless it publishes
	work     sync.WaitGroup    // heartbeats and publishing
	quit     chan struct{}     // closed when the connection has ended
}

// numbers are the first and the last number of a run that a client has received.
type numbers struct{ first, last int }

// moves counts the joins and leaves that a client was told of.
type moves struct{ joins, leaves int }

// startCrowd starts n clients in rooms of size clients and waits until all have joined.
func startCrowd(t *testing.T, nodes []*node, n, size int, p pace) *crowd {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := &crowd{t: t, nodes: nodes, stop: cancel}
	for i := range n {
		if i%size == 0 {
			c.rooms = append(c.rooms, &room{topic: fmt.Sprint("room:", len(c.rooms)), runs: map[string]*run{}})
		}
		r := c.rooms[len(c.rooms)-1]
		m := &member{crowd: c, room: r, name: fmt.Sprint("user-", i), publishes: i%size < 3}
		r.members = append(r.members, m)
		c.work.Go(func() { m.live(ctx, i, p) })
	}
	t.Cleanup(func() { cancel(); c.work.Wait() })
	c.awaitAll()
	return c
}

// fail reports a fault that a client found; only the first ten are shown.
func (c *crowd) fail(format string, args ...any) {
	if c.failures.Add(1) <= 10 {
		c.t.Errorf(format, args...)
	}
}

// awaitAll waits until every client is in its room.
func (c *crowd) awaitAll() {
	c.t.Helper()
	wait(c.t, "all clients have joined", func() bool {
		for _, r := range c.rooms {
			for _, m := range r.members {
				if s := m.current(); s == nil {
					return false
				}
			}
		}
		return true
	})
}

func (m *member) current() *stay {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stay
}

// live connects again and again.
func (m *member) live(ctx context.Context, index int, p pace) {
	nodes := m.crowd.nodes
	for n := nodes[index%len(nodes)]; ctx.Err() == nil; n = nodes[rand.IntN(len(nodes))] {
		if n.ready.Load() {
			m.visit(ctx, n, p)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(50+rand.IntN(450)) * time.Millisecond):
		}
	}
}

// visit makes one connection and stays until it ends.
func (m *member) visit(ctx context.Context, n *node, p pace) {
	life := n.current()
	dial, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, buffered, _, err := ws.Dial(dial, "ws://"+n.address+"/socket/websocket?vsn=2.0.0")
	if err != nil {
		return
	}
	if buffered != nil { // nothing is sent before a join
		ws.PutReader(buffered)
	}
	defer conn.Close()
	over := context.AfterFunc(ctx, func() { conn.Close() })
	defer over()
	join := fmt.Sprintf(`["1","1",%q,"phx_join",{"user":%q}]`, m.room.topic, m.name)
	if wsutil.WriteClientText(conn, []byte(join)) != nil {
		return
	}
	s := &stay{node: n, life: life, conn: conn, got: map[string]*numbers{}, present: map[string]map[string]string{}, moves: map[string]*moves{}, quit: make(chan struct{})}
	m.read(s, p)
}

// read handles the messages of a connection until it ends.
func (m *member) read(s *stay, p pace) {
	defer m.leave(s)
	for {
		s.conn.SetReadDeadline(time.Now().Add(patience))
		text, op, err := wsutil.ReadServerData(s.conn)
		if err != nil || op != ws.OpText || !m.handle(s, text, p) {
			return
		}
	}
}

// leave ends what the member does over a connection.
func (m *member) leave(s *stay) {
	close(s.quit)
	s.conn.Close()
	s.work.Wait()
	m.mu.Lock()
	m.stay = nil
	m.mu.Unlock()
	if s.run != nil {
		s.run.mu.Lock()
		s.run.over = true
		s.run.mu.Unlock()
	}
}

// handle handles a message. It reports whether the member stays connected.
func (m *member) handle(s *stay, text []byte, p pace) bool {
	var v [5]json.RawMessage
	var ref, event string
	if json.Unmarshal(text, &v) != nil || json.Unmarshal(v[3], &event) != nil {
		m.crowd.fail("%s got %.200q", m.name, text)
		return false
	}
	json.Unmarshal(v[1], &ref)
	m.mu.Lock()
	defer m.mu.Unlock()
	switch event {
	case "phx_reply":
		return m.reply(s, ref, v[4], p)
	case "n":
		m.number(s, v[4])
	case "presence_state":
		m.presenceState(s, v[4])
	case "presence_diff":
		m.presenceDiff(s, v[4])
	case "phx_close", "phx_error":
		return false // the node stops
	default:
		m.crowd.fail("%s got %.200q", m.name, text)
	}
	return true
}

// reply handles the answer to the join, to a heartbeat or to a number. It reports whether
// the member stays connected.
func (m *member) reply(s *stay, ref string, payload []byte, p pace) bool {
	switch {
	case ref == "1" && okReply(payload):
		m.joined(s, p)
	case ref == "1":
		return false
	case ref == "beat":
	case okReply(payload):
		s.run.ack(ref)
	default:
		m.crowd.fail("%s on %s: number %s was answered with %s", m.name, s.node.name, ref, payload)
	}
	return true
}

// joined begins to send heartbeats, and numbers if the member publishes.
func (m *member) joined(s *stay, p pace) {
	s.since, m.stay = time.Now(), s
	m.crowd.rejoined.Add(1)
	s.work.Go(s.beat)
	if m.publishes {
		m.runs++
		name := fmt.Sprint(m.name, "/", m.runs)
		s.run = m.room.begin(name, s)
		s.work.Go(func() { m.publish(name, s, p) })
	}
}

func okReply(payload []byte) bool {
	var reply struct{ Status string }
	return json.Unmarshal(payload, &reply) == nil && reply.Status == "ok"
}

func (r *room) begin(name string, s *stay) *run {
	r.mu.Lock()
	defer r.mu.Unlock()
	made := &run{node: s.node, life: s.life}
	r.runs[name] = made
	return made
}

// publish sends the numbers.
func (m *member) publish(name string, s *stay, p pace) {
	var frames bytes.Buffer
	for {
		select {
		case <-s.quit:
			return
		case <-time.After(p.every/2 + time.Duration(rand.Int64N(int64(p.every)))):
		}
		frames.Reset()
		for range p.burst {
			n := s.run.push()
			text := fmt.Sprintf(`["1","n%d",%q,"n",{"run":%q,"n":%d}]`, n, m.room.topic, name, n)
			if err := wsutil.WriteClientText(&frames, []byte(text)); err != nil {
				m.crowd.fail("%v", err)
			}
		}
		if _, err := s.conn.Write(frames.Bytes()); err != nil {
			return
		}
		m.crowd.pushed.Add(int64(p.burst))
	}
}

// beat sends heartbeats as often as phoenix.js does.
func (s *stay) beat() {
	ticker := time.NewTicker(30 * time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-s.quit:
			return
		case <-ticker.C:
			if wsutil.WriteClientText(s.conn, []byte(`[null,"beat","phoenix","heartbeat",{}]`)) != nil {
				return
			}
		}
	}
}

// push returns the next number.
func (r *run) push() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pushed = append(r.pushed, time.Now())
	return len(r.pushed)
}

// ack records that a number was answered with ok. The answers come in order.
func (r *run) ack(ref string) {
	n := 0
	if _, err := fmt.Sscanf(ref, "n%d", &n); err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acked = max(r.acked, n)
}

// number checks that no number of a run comes twice or out of order, and that none is missing.
func (m *member) number(s *stay, payload []byte) {
	var p struct {
		Run string
		N   int
	}
	if err := json.Unmarshal(payload, &p); err != nil {
		m.crowd.fail("%s got %s", m.name, payload)
		return
	}
	m.crowd.delivered.Add(1)
	got := s.got[p.Run]
	if got == nil {
		s.got[p.Run] = &numbers{p.N, p.N}
		m.room.mu.Lock()
		r := m.room.runs[p.Run]
		m.room.mu.Unlock()
		r.mu.Lock()
		defer r.mu.Unlock()
		// A number that was sent after the ok of this client's join must not be missed.
		if p.N > 1 && !s.since.IsZero() && !m.crowd.mayMiss.Load() && r.pushed[p.N-2].After(s.since) {
			m.crowd.fail("%s on %s joined at %s, and the first number of %s on %s is %d: the one before was sent %s later",
				m.name, s.node.name, s.since.Format("05.000"), p.Run, r.node.name, p.N, r.pushed[p.N-2].Sub(s.since))
		}
		return
	}
	switch {
	case p.N == got.last+1:
	case p.N > got.last && m.crowd.mayMiss.Load():
		m.crowd.gaps.Add(int64(p.N - got.last - 1))
	default:
		m.crowd.fail("%s on %s got number %d of %s after %d", m.name, s.node.name, p.N, p.Run, got.last)
	}
	got.last = p.N
}

// checkRuns waits until every client has received, of each run, the last number that has
// been answered with ok, if it was sent while the client was joined. Runs that SIGKILL
// ended are left out.
func (c *crowd) checkRuns() {
	c.t.Helper()
	for _, r := range c.rooms {
		due := r.answered()
		for _, m := range r.members {
			wait(c.t, m.name+" has all numbers", func() bool { return m.has(due) })
		}
	}
}

// due is the last number of a run that was answered with ok, and when it was sent.
type due struct {
	number int
	sent   time.Time
}

func (r *room) answered() map[string]due {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[string]due{}
	for name, one := range r.runs {
		one.mu.Lock()
		if one.acked > 0 && !one.node.wasKilled(one.life) {
			all[name] = due{one.acked, one.pushed[one.acked-1]}
		}
		one.mu.Unlock()
	}
	return all
}

// has reports whether a client has the numbers that were sent while it was there.
func (m *member) has(all map[string]due) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, d := range all {
		if m.stay != nil && d.sent.After(m.stay.since) && (m.stay.got[name] == nil || m.stay.got[name].last < d.number) {
			return false
		}
	}
	return true
}
