package natsstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mycelium-rt/mycelium/history"
)

const (
	// mostWaiting and mostWaitingBytes bound the messages that JetStream has not answered.
	// A server that is well answers in less than a millisecond, so that many are
	// answered each second several times over.
	mostWaiting      = 4096
	mostWaitingBytes = 16 << 20
	// lookEvery is how often it is looked for messages that wait for too long.
	lookEvery = 100 * time.Millisecond
	// slowAnswer is how long an answer usually takes at most, on a machine that is busy.
	slowAnswer = 300 * time.Millisecond
)

// publisher sends messages, and tells their senders what JetStream has answered. Append
// only queues: a goroutine writes what has gathered, since a write to a connection may
// block.
type publisher struct {
	// Static.
	timeout time.Duration
	health  func() error  // nil: nobody knows
	wake    chan struct{} // of the writer

	mu sync.Mutex

	// Guarded by mu. The tokens of messages are consecutive, so those that wait are a
	// queue in the order of their tokens, with gaps where one was answered.
	conn            *nats.Conn // nil: the stream is not open
	inbox           string     // where answers come to, followed by the token
	waiting         []message  // from token first on
	first           uint64
	written         uint64 // the first token that was not yet written
	count, bytes    int    // of those not answered
	stored, refused uint64
	closed          bool
	broken          error // the stream must be opened again; nil: it need not
	noSpace         bool  // the disk was full when a message was stored last
}

// message is a message that waits for its answer.
type message struct {
	subject string
	data    []byte
	done    func(error) // nil: it was answered
	since   time.Time
}

func (p *publisher) init(timeout time.Duration, health func() error) {
	p.timeout, p.health, p.wake = timeout, health, make(chan struct{}, 1)
}

// append queues a message. done is called with an error at once if it cannot be queued.
func (p *publisher) append(subject string, data []byte, done func(error)) {
	p.mu.Lock()
	var err error
	switch {
	case p.closed:
		err = errClosed
	case p.conn == nil && p.noSpace:
		err = errNoSpace
	case p.conn == nil:
		err = errOpening
	case p.count >= mostWaiting || p.count > 0 && p.bytes+len(data) > mostWaitingBytes:
		err = errBusy
	}
	if err != nil {
		p.refused++
		p.mu.Unlock()
		done(err)
		return
	}
	p.waiting = append(p.waiting, message{subject, data, done, time.Now()})
	p.count++
	p.bytes += len(data)
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// connect gives the publisher its connection. From now on messages are accepted.
func (p *publisher) connect(conn *nats.Conn) error {
	inbox := conn.NewInbox() + "."
	sub, err := conn.Subscribe(inbox+"*", p.handleAnswer)
	if err != nil {
		return fmt.Errorf("subscribing to answers: %w", err)
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil { // there are at most mostWaiting
		return fmt.Errorf("subscribing to answers: %w", err)
	}
	p.mu.Lock()
	p.conn, p.inbox, p.broken = conn, inbox, nil
	p.mu.Unlock()
	return nil
}

// disconnect gives up what waits for answers: they will not come. Later messages are
// refused until there is a connection again.
func (p *publisher) disconnect() {
	p.mu.Lock()
	p.conn = nil
	p.mu.Unlock()
	p.giveUp(time.Now().Add(time.Hour), errSilent)
}

// failure returns why the stream must be opened again, nil if it need not.
func (p *publisher) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.broken
}

// blame returns errNoSpace in place of an error that follows from it.
func (p *publisher) blame(err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.noSpace && err != nil {
		return errNoSpace
	}
	return err
}

// serve writes messages, and gives up those that wait for too long, until ctx is done.
func (p *publisher) serve(ctx context.Context) {
	var both sync.WaitGroup
	both.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-p.wake:
				p.write()
			}
		}
	})
	both.Go(func() {
		ticker := time.NewTicker(lookEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-ticker.C:
				p.giveUp(now.Add(-p.timeout), errSilent)
				p.examine(now)
			}
		}
	})
	both.Wait()
	p.giveUp(time.Now().Add(time.Hour), errClosed)
}

// write writes what has gathered.
func (p *publisher) write() {
	for {
		p.mu.Lock()
		at := p.written - p.first
		if at >= uint64(len(p.waiting)) {
			p.mu.Unlock()
			return
		}
		m, token, conn, inbox := p.waiting[at], p.written, p.conn, p.inbox
		p.written++
		p.mu.Unlock()
		if m.done == nil || conn == nil { // it was given up, or will be
			continue
		}
		if err := conn.PublishMsg(&nats.Msg{Subject: m.subject, Reply: inbox + strconv.FormatUint(token, 10), Data: m.data}); err != nil {
			p.answer(token, explain(err))
		}
	}
}

// handleAnswer is called by nats.go with each answer of JetStream.
func (p *publisher) handleAnswer(m *nats.Msg) {
	token, err := strconv.ParseUint(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:], 10, 64)
	if err == nil {
		p.answer(token, errorIn(m))
	}
}

// noResponders is the status of an answer by a NATS server when nobody takes a message.
const noResponders = "503"

// noSpaceText is in errors of a JetStream whose disk is full (ENOSPC).
const noSpaceText = "no space left"

// storeFailed is the code of an answer for a message that could not be written
// (JSStreamStoreFailedF in nats-server/server/errors.json).
const storeFailed = 10077

// errorIn returns the error in an answer, nil if the message is stored.
func errorIn(m *nats.Msg) error {
	if m.Header.Get("Status") == noResponders {
		return errAbsent
	}
	if !bytes.Contains(m.Data, []byte(`"error"`)) && bytes.Contains(m.Data, []byte(`"seq"`)) {
		return nil
	}
	var ack struct {
		Error struct {
			Code        uint16 `json:"err_code"`
			Description string `json:"description"`
		} `json:"error"`
	}
	switch err := json.Unmarshal(m.Data, &ack); {
	case err != nil || ack.Error.Description == "":
		return fmt.Errorf("JetStream answers %.100q", m.Data)
	case ack.Error.Code == storeFailed && strings.Contains(ack.Error.Description, "maximum bytes exceeded"): // ErrMaxBytes
		return errFull
	case strings.Contains(ack.Error.Description, noSpaceText):
		return errNoSpace
	case ack.Error.Code == storeFailed:
		return fmt.Errorf("%w: %s", errBroken, ack.Error.Description)
	}
	return fmt.Errorf("JetStream refuses it: %s", ack.Error.Description)
}

// answer tells the sender of a message whether it is stored.
func (p *publisher) answer(token uint64, err error) {
	p.mu.Lock()
	done := p.takeLocked(token, err)
	p.mu.Unlock()
	if done != nil {
		done(p.blame(err))
	}
}

// takeLocked removes a message that is answered with err, and returns its done; nil if it
// was answered before.
func (p *publisher) takeLocked(token uint64, err error) (done func(error)) {
	if token < p.first || token >= p.first+uint64(len(p.waiting)) {
		return nil
	}
	m := &p.waiting[token-p.first]
	if m.done == nil {
		return nil
	}
	done = m.done
	p.count--
	p.bytes -= len(m.data)
	*m = message{}
	for len(p.waiting) > 0 && p.waiting[0].done == nil {
		p.waiting = p.waiting[1:]
		p.first++
	}
	if len(p.waiting) == 0 {
		p.waiting = nil
	}
	p.written = max(p.written, p.first)
	switch {
	case err == nil:
		p.stored++
		p.noSpace = false
		return done
	case errors.Is(err, errNoSpace):
		p.broken, p.noSpace = err, true
	case errors.Is(err, errBroken):
		p.broken = err
	}
	p.refused++
	return done
}

// giveUp answers the messages from before a time with an error.
func (p *publisher) giveUp(before time.Time, err error) {
	for {
		p.mu.Lock()
		if len(p.waiting) == 0 || p.waiting[0].since.After(before) { // the first one is never answered
			p.mu.Unlock()
			return
		}
		done := p.takeLocked(p.first, err)
		p.mu.Unlock()
		done(err)
	}
}

// examine gives up what waits if that takes long because JetStream cannot write.
func (p *publisher) examine(now time.Time) {
	p.mu.Lock()
	slow := p.conn != nil && len(p.waiting) > 0 && p.waiting[0].since.Before(now.Add(-slowAnswer))
	p.mu.Unlock()
	if !slow || p.health == nil {
		return
	}
	err := p.health()
	if err == nil {
		return
	}
	p.mu.Lock()
	p.conn = nil // until the stream is opened again
	p.broken, p.noSpace = err, p.noSpace || strings.Contains(err.Error(), noSpaceText)
	p.mu.Unlock()
	p.giveUp(now.Add(time.Hour), p.blame(err))
}

// close refuses further messages, and waits until all are answered or ctx is done.
func (p *publisher) close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for {
		p.mu.Lock()
		n := p.count
		p.mu.Unlock()
		if n == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d messages were not answered by JetStream: %w", n, ctx.Err())
		case <-ticker.C:
		}
	}
}

func (p *publisher) addTo(st *history.DurableStats) {
	p.mu.Lock()
	defer p.mu.Unlock()
	st.Waiting, st.WaitingBytes, st.Stored, st.Refused = p.count, p.bytes, p.stored, p.refused
}

// Append implements [history.Durable].
func (s *Stream) Append(space, topic string, entry []byte, done func(error)) {
	s.publisher.append(s.subjectOf(space, topic), entry, func(err error) {
		if errors.Is(err, errOpening) {
			if why := s.Trouble(); why != nil {
				err = why
			}
		}
		done(err)
	})
}
