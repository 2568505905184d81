package bench

import (
	"crypto/tls"
	"fmt"
	"math"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// job is what a mode does on joined connections.
type job interface {
	// due does what is due while the mode runs, and returns when it is to be called
	// again.
	due(now int64) time.Duration
	// message handles a message on a joined connection.
	message(i int, m *message, size int, at int64)
	// left is called when a joined connection has ended.
	left(i int)
}

// worker drives its connections from one thread with one epoll.
type worker struct {
	*tally
	plan  *plan
	share share
	board *board
	topic []topicCount
	poll  *poller
	conns []conn
	job   job

	phase    phase
	finished bool // nothing more will be sent
	quiet    bool // it is listening
	opener   opener
	beater   schedule
	beatNext int

	input   []byte // what one recv reads
	plain   []byte // the same, decrypted; nil without TLS
	text    []byte // a message being written
	frame   []byte // the same as a frame
	errors  map[string]int
	partial map[int][]byte // messages whose last fragment is missing, by connection
	topics  pattern
}

// Indexes in epoll's events that are not connections.
const (
	wakeIndex   = -1
	parentIndex = -2
)

// atOnce is how many messages are sent before the worker reads: in an open loop that
// is behind, another message is always due.
const atOnce = 256

// idleWait bounds how long a worker sleeps. It is woken when there is work.
const idleWait = time.Second

// maxErrors bounds how many different errors a worker counts.
const maxErrors = 50

// newWorker returns worker number k. Its eventfd wakes it; parent becomes readable
// when its parent process dies.
func newWorker(p *plan, m *memory, k, eventfd, parent int) (*worker, error) {
	poll, err := newPoller()
	if err != nil {
		return nil, err
	}
	w := &worker{
		tally: &m.tallies[k], plan: p, share: p.Workers[k], board: m.board, topic: m.topics, poll: poll,
		conns: make([]conn, p.Workers[k].Count), input: make([]byte, 256<<10),
		errors: map[string]int{}, partial: map[int][]byte{}, topics: newPattern(quoted(p.Topic)),
	}
	for i := range w.conns {
		w.conns[i] = conn{fd: -1, topic: int32(w.topicOf(i))}
	}
	if err := poll.watch(unix.EPOLL_CTL_ADD, eventfd, wakeIndex, unix.EPOLLIN); err != nil {
		return nil, err
	}
	if err := poll.watch(unix.EPOLL_CTL_ADD, parent, parentIndex, unix.EPOLLIN); err != nil {
		return nil, err
	}
	w.opener = newOpener(w)
	if slices.ContainsFunc(w.opener.configs, func(c *tls.Config) bool { return c != nil }) {
		w.plain = make([]byte, 64<<10)
	}
	w.job = newJob(w)
	return w, nil
}

// topicOf spreads the connections over the topics evenly. Each topic has the same
// number of publishers.
func (w *worker) topicOf(i int) int {
	if w.share.Publishing {
		return i % w.plan.Topics
	}
	return (w.share.First + i) % w.plan.Topics
}

func newJob(w *worker) job {
	switch {
	case w.share.Publishing:
		return newPublishing(w)
	case w.plan.Mode == Broadcast:
		return newReceiving(w)
	case w.plan.Mode == Echo:
		return newEchoing(w)
	case w.plan.Mode == Presence:
		return newWatching(w)
	}
	return holding{w}
}

// run runs the worker until the phase is quitting or the parent is gone.
func (w *worker) run(eventfd int) error {
	for {
		now := monotonic()
		switch w.phase = phase(w.board.phase.Load()); {
		case w.phase == quitting:
			return nil
		case w.phase == listening && !w.quiet:
			w.quiet = true
			w.board.quiet.Add(1)
		}
		ready, err := w.poll.wait(w.due(now))
		if err != nil {
			return fmt.Errorf("epoll_pwait2: %w", err)
		}
		before := w.delivered.Load()
		for _, e := range ready {
			switch e.Fd {
			case wakeIndex:
				var b [8]byte
				_, _ = unix.Read(eventfd, b[:])
			case parentIndex:
				return fmt.Errorf("the parent is gone")
			default:
				w.ready(int(e.Fd), e.Events)
			}
		}
		w.advance(w.delivered.Load() - before)
	}
}

// due does what is due and returns how long the worker may sleep.
func (w *worker) due(now int64) time.Duration {
	wait := idleWait
	switch w.phase {
	case opening:
		wait = min(wait, w.open(now))
	case running:
		if !w.finished {
			wait = min(wait, w.job.due(now))
		}
	}
	return min(wait, w.beat(now))
}

// finishJob ends the calls of the job's due.
func (w *worker) finishJob() {
	w.finished = true
	w.board.finished.Add(1)
}

// advance adds n to the progress of all workers, and wakes the publishers when the
// progress that they await is reached. They store the awaited progress before they
// read the progress, and advance adds before it reads what they await, so one of them
// sees the other's write.
func (w *worker) advance(n int64) {
	if n == 0 {
		return
	}
	total := w.board.progress.Add(n)
	if awaited := w.board.awaited.Load(); total >= awaited && total-n < awaited {
		wake(publisherEventFD)
	}
}

// beat sends the heartbeats that are due. They are spread evenly over the interval.
func (w *worker) beat(now int64) time.Duration {
	if w.plan.Heartbeat == 0 || w.phase == opening || w.phase == listening {
		return idleWait
	}
	if w.beater.start == 0 {
		w.beater = schedule{start: now, rate: float64(len(w.conns)) / w.plan.Heartbeat.Seconds()}
	}
	w.frame = w.appendFrame(w.frame[:0], opText, []byte(`[null,"hb","phoenix","heartbeat",{}]`))
	for {
		_, wait := w.beater.takeDue(now)
		if wait > 0 {
			return time.Duration(wait)
		}
		if w.conns[w.beatNext].state == joined {
			w.beats.Add(1)
			w.send(w.beatNext, w.frame)
		}
		w.beatNext = (w.beatNext + 1) % len(w.conns)
	}
}

// appendFrame appends a frame, or a packet of raw TCP.
func (w *worker) appendFrame(dst []byte, op byte, payload []byte) []byte {
	if w.plan.TCP {
		return appendPacket(dst, op, payload)
	}
	return appendFrame(dst, op, payload)
}

// readHead reads the head of a frame or packet.
func (w *worker) readHead(b []byte) (frameHead, error) {
	if w.plan.TCP {
		return readPacketHead(b)
	}
	return readHead(b)
}

// fail counts an error.
func (w *worker) fail(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if _, known := w.errors[text]; !known && len(w.errors) >= maxErrors {
		text = "others"
	}
	w.errors[text]++
}

// appendTopic appends the topic of a connection, escaped for a JSON string.
func (w *worker) appendTopic(dst []byte, i int) []byte {
	return w.topics.append(dst, int(w.conns[i].topic))
}

// forever is what due returns when only messages can give the job something to do.
const forever = time.Duration(math.MaxInt64)
