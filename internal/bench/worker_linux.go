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
	// due does what is due while the mode runs, and returns how long nothing
	// more will be.
	due(now int64) time.Duration
	// message takes a message that is none of those of joining.
	message(i int, m *message, size int, at int64)
	// left is told that a joined connection has ended.
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
	opener   opener
	beater   schedule
	beatNext int

	input   []byte // what one recv reads
	plain   []byte // the same without TLS; nil where there is none
	text    []byte // a message being written
	frame   []byte // the same as a frame
	errors  map[string]int
	partial map[int][]byte // messages whose last fragment has not come, by connection
	topics  pattern
}

// Indexes of what is no connection, in epoll's events.
const (
	wakeIndex   = -1
	parentIndex = -2
)

// atOnce is how many messages are sent before what has come is read: in a loop
// that is behind there is always one more that is due.
const atOnce = 256

// idleWait bounds how long a worker sleeps; it is woken for everything.
const idleWait = time.Second

// maxKinds bounds the different errors that a worker keeps.
const maxKinds = 50

// newWorker makes worker number k. Its eventfd wakes it; the end of parent means
// that its parent process has died.
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

// topicOf spreads the connections evenly, and the publishers so that each
// topic has as many.
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

// run works until the phase is quitting or the parent is gone.
func (w *worker) run(eventfd int) error {
	for {
		now := monotonic()
		w.phase = phase(w.board.phase.Load())
		if w.phase == quitting {
			return nil
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

// due does what is due and returns how long nothing more will be.
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

// finishJob has the job's due not be called any more.
func (w *worker) finishJob() {
	w.finished = true
	w.board.finished.Add(1)
}

// advance adds n to the progress of all and wakes the publishers when what
// they wait for is reached. They store what they wait for and then look, this
// adds and then looks: one of both sees the other.
func (w *worker) advance(n int64) {
	if n == 0 {
		return
	}
	total := w.board.progress.Add(n)
	if awaited := w.board.awaited.Load(); total >= awaited && total-n < awaited {
		wake(publisherEventFD)
	}
}

// beat sends the heartbeats that are due, spread evenly over their interval.
func (w *worker) beat(now int64) time.Duration {
	if w.plan.Heartbeat == 0 || w.phase == opening || w.phase == listening {
		return idleWait
	}
	if w.beater.start == 0 {
		w.beater = schedule{start: now, rate: float64(len(w.conns)) / w.plan.Heartbeat.Seconds()}
	}
	w.frame = appendFrame(w.frame[:0], opText, []byte(`[null,"hb","phoenix","heartbeat",{}]`))
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

// fail counts an error.
func (w *worker) fail(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if _, known := w.errors[text]; !known && len(w.errors) >= maxKinds {
		text = "others"
	}
	w.errors[text]++
}

// appendTopic appends the topic of a connection as the inside of a JSON string.
func (w *worker) appendTopic(dst []byte, i int) []byte {
	return w.topics.append(dst, int(w.conns[i].topic))
}

// forever is for jobs that have nothing to do until something comes.
const forever = time.Duration(math.MaxInt64)
