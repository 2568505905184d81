package natsstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// trimEvery is how often the topics that are due are trimmed.
	trimEvery = time.Second
	// mostTrims bounds the topics that wait to be trimmed. What is left out is trimmed
	// with the topic's next messages, or after a restart.
	mostTrims = 100_000
)

// trims are the topics that wait to be trimmed.
type trims struct {
	mu  sync.Mutex
	due map[string]uint64 // by subject: the first number that stays; guarded by mu
}

// add notes that a subject is to be trimmed.
func (t *trims) add(subject string, below uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.due == nil {
		t.due = make(map[string]uint64)
	}
	if before, ok := t.due[subject]; ok || len(t.due) < mostTrims {
		t.due[subject] = max(before, below)
	}
}

// take returns what is due.
func (t *trims) take() map[string]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	due := t.due
	t.due = nil
	return due
}

// Trim implements [history.Durable].
func (s *Stream) Trim(space, topic string, below uint64) {
	if s.current.Load() != nil {
		s.trims.add(s.subjectOf(space, topic), below)
	}
}

// trimAgainAndAgain trims what is due until the Stream is closed.
func (s *Stream) trimAgainAndAgain() {
	ticker := time.NewTicker(trimEvery)
	defer ticker.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-ticker.C:
		}
		if a := s.current.Load(); a != nil {
			s.trimAll(a)
		}
	}
}

// trimAll trims what is due. After an error the rest waits for the next time.
func (s *Stream) trimAll(a *access) {
	due := s.trims.take()
	for subject, below := range maps.All(due) {
		if err := s.purge(a, subject, below); err != nil {
			for subject, below := range due {
				s.trims.add(subject, below)
			}
			return
		}
		delete(due, subject)
	}
}

// purge removes the messages of a subject whose numbers are below a number.
func (s *Stream) purge(a *access, subject string, below uint64) error {
	if below <= 1 { // older servers take 1 for no bound, and would remove all
		return nil
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.options.Timeout)
	defer cancel()
	return explain(a.stream.Purge(ctx, jetstream.WithPurgeSubject(subject), jetstream.WithPurgeSequence(below)))
}

// Remove implements [history.Durable].
func (s *Stream) Remove(space, topic string, which func() (number uint64, exactly bool)) error {
	a := s.current.Load()
	if a == nil {
		return cmp.Or(s.Trouble(), errOpening)
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.options.Timeout)
	defer cancel()
	subject := s.subjectOf(space, topic)
	if err := s.await(ctx, a, subject); err != nil {
		return err
	}
	number, exactly := which()
	if !exactly {
		return s.purge(a, subject, number)
	}
	m, err := a.stream.GetMsg(ctx, number)
	if err == nil && m.Subject == subject {
		err = a.stream.SecureDeleteMsg(ctx, number)
	}
	if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		return fmt.Errorf("message %d: %w", number, explain(err))
	}
	return nil
}

// await waits until the store has the last message of a subject.
func (s *Stream) await(ctx context.Context, a *access, subject string) error {
	m, err := a.stream.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	if err != nil {
		return explain(err)
	}
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for s.store.StreamHead() < m.Sequence {
		select {
		case <-ctx.Done():
			return errSilent
		case <-ticker.C:
		}
	}
	return nil
}
