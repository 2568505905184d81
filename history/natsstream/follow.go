package natsstream

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mycelium-rt/mycelium/history"
)

const (
	// pause is the pause between two attempts to open or follow the stream.
	pause = 200 * time.Millisecond
	// askTime bounds one request to JetStream.
	askTime = 5 * time.Second
	// beat is how often JetStream says that there is nothing new. After two that are
	// missing, the consumer is made anew, maybe on another server.
	beat = time.Second
	// lookAround is how often the stream is looked at otherwise: it must be longer than the
	// time after which beats are missed.
	lookAround = 3 * beat
	// forgetAfter is when JetStream drops the consumer of a node that has gone.
	forgetAfter = 30 * time.Second
	// keepAtMost is how long the stream keeps what no rule knows any more: the longest age
	// of a rule.
	keepAtMost = 30 * 24 * time.Hour
	// noRoom is the code of the answer to a request for a stream that may become larger than
	// JetStream's disks permit (JSStorageResourcesExceededErr in
	// nats-server/server/errors.json).
	noRoom = 10047
	// logKey is the key of the stream's metadata with the number of its log.
	logKey = "mycelium_log"
)

// run opens the stream and follows it until the Stream is closed.
func (s *Stream) run() {
	for s.ctx.Err() == nil {
		err := s.session()
		if s.ctx.Err() == nil {
			s.setTrouble(s.publisher.blame(err))
		}
		select {
		case <-s.ctx.Done():
		case <-time.After(pause):
		}
	}
}

// session opens the stream, has messages published to it, and follows it. It returns an
// error when that ends.
func (s *Stream) session() error {
	js, err := s.options.Open()
	if err != nil {
		return err
	}
	defer js.Conn().Close()
	stop := context.AfterFunc(s.ctx, js.Conn().Close) // ends requests that wait
	defer stop()
	stream, err := s.open(js)
	if err != nil {
		return err
	}
	if err := s.publisher.connect(js.Conn()); err != nil {
		return err
	}
	defer s.publisher.disconnect()
	s.current.Store(&access{js, stream})
	defer s.current.Store(nil)
	return s.follow(js, stream)
}

// open opens the stream and tells the store which it is.
func (s *Stream) open(js jetstream.JetStream) (jetstream.Stream, error) {
	stream, err := s.ensure(js)
	if err != nil {
		return nil, err
	}
	info := stream.CachedInfo()
	if log := logOf(info); log != 0 && log == s.log && info.State.LastSeq < s.store.StreamHead() {
		// Its servers have lost what they had said was stored. New messages would get numbers
		// that clients have seen.
		if stream, err = s.rename(js, info.Config); err != nil {
			return nil, err
		}
		info = stream.CachedInfo()
	}
	s.log = logOf(info)
	if s.log == 0 {
		return nil, fmt.Errorf("stream %s was not made by mycelium: its metadata has no %s", s.options.Name, logKey)
	}
	s.store.BindStream(s.log)
	return stream, nil
}

// ensure opens the stream, and makes it if it does not exist.
func (s *Stream) ensure(js jetstream.JetStream) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(s.ctx, askTime)
	defer cancel()
	stream, err := js.Stream(ctx, s.options.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if stream, err = js.CreateStream(ctx, s.config(newLog())); errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another node was first
			stream, err = js.Stream(ctx, s.options.Name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", s.options.Name, explain(err))
	}
	c := stream.CachedInfo().Config
	if c.MaxBytes != s.options.MaxBytes {
		c.MaxBytes = s.options.MaxBytes
		if stream, err = js.UpdateStream(ctx, c); err != nil {
			return nil, fmt.Errorf("stream %s: changing its size: %w", s.options.Name, explain(err))
		}
	}
	return stream, nil
}

// explain makes errors of nats.go readable.
func explain(err error) error {
	var refused *jetstream.APIError
	switch {
	case errors.As(err, &refused) && refused.ErrorCode == noRoom:
		return errNoRoom
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return errSilent
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse),
		errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionReconnecting): // NATS is away
		return errAbsent
	}
	return err
}

func newLog() string {
	var b [8]byte
	rand.Read(b[:])
	return logText(b[:])
}

// logAfter returns the log of a stream that has lost messages. Nodes that notice the loss at
// the same time must choose the same, since each would go on with its own.
func logAfter(log history.LogID) string {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(log)))
	return logText(sum[:])
}

// logText returns the log whose number begins b, as it is in the stream's metadata.
func logText(b []byte) string {
	return strconv.FormatUint(max(1, binary.BigEndian.Uint64(b)), 16)
}

// config returns the stream's configuration. It refuses what does not fit: what was
// stored is dropped only as the rules say.
func (s *Stream) config(log string) jetstream.StreamConfig {
	replicas := 1
	if s.options.Replicas != nil {
		replicas = max(1, s.options.Replicas())
	}
	return jetstream.StreamConfig{
		Name: s.options.Name, Subjects: []string{s.options.Prefix + ".>"}, Description: "durable history of mycelium",
		Storage: jetstream.FileStorage, Replicas: replicas, Discard: jetstream.DiscardNew,
		MaxMsgs: -1, MaxBytes: s.options.MaxBytes, MaxConsumers: -1, MaxAge: keepAtMost,
		Metadata: map[string]string{logKey: log},
	}
}

// rename gives the stream a new log, because it has lost messages.
func (s *Stream) rename(js jetstream.JetStream, c jetstream.StreamConfig) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(s.ctx, askTime)
	defer cancel()
	c.Metadata = map[string]string{logKey: logAfter(s.log)}
	stream, err := js.UpdateStream(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", s.options.Name, explain(err))
	}
	return stream, nil
}

// follow gives the store what the stream has and then everything new.
func (s *Stream) follow(js jetstream.JetStream, stream jetstream.Stream) error {
	it, err := s.consume(js)
	if err != nil {
		return err
	}
	defer it.Stop()
	last := stream.CachedInfo().State.LastSeq
	switch {
	case last <= s.store.StreamHead():
		s.setLoaded(last)
	case s.IsLoaded():
		s.setTrouble(nil)
	default:
		s.setTrouble(errReading)
	}
	for {
		m, err := it.Next(jetstream.NextMaxWait(lookAround))
		switch {
		case err == nil:
			s.apply(m, last)
		case !errors.Is(err, nats.ErrTimeout):
			return fmt.Errorf("following stream %s: %w", s.options.Name, explain(err))
		default:
			if err := s.checkLoaded(stream); err != nil {
				return err
			}
		}
		if err := s.publisher.failure(); err != nil {
			return err
		}
	}
}

func logOf(info *jetstream.StreamInfo) history.LogID {
	log, err := strconv.ParseUint(info.Config.Metadata[logKey], 16, 64)
	if err != nil {
		return 0
	}
	return history.LogID(log)
}

// consume begins to read what the store does not have yet.
func (s *Stream) consume(js jetstream.JetStream) (jetstream.MessagesContext, error) {
	ctx, cancel := context.WithTimeout(s.ctx, askTime)
	defer cancel()
	consumer, err := js.OrderedConsumer(ctx, s.options.Name, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: s.store.StreamHead() + 1,
		InactiveThreshold: forgetAfter, MaxResetAttempts: 1,
	})
	if err != nil {
		return nil, fmt.Errorf("reading stream %s: %w", s.options.Name, explain(err))
	}
	it, err := consumer.Messages(jetstream.PullHeartbeat(beat), jetstream.PullMaxMessages(1000))
	if err != nil {
		return nil, fmt.Errorf("reading stream %s: %w", s.options.Name, explain(err))
	}
	return it, nil
}

// apply gives the store a message. last is the stream's last number when it was opened.
func (s *Stream) apply(m jetstream.Msg, last uint64) {
	meta, err := m.Metadata()
	if err != nil {
		s.malformed.Add(1)
		return
	}
	space, topic, ok := s.namesIn(m.Subject())
	if !ok || s.store.ApplyStored(space, topic, meta.Sequence.Stream, meta.Timestamp, m.Data()) != nil {
		s.malformed.Add(1)
	}
	if !s.store.IsLoaded() && (meta.NumPending == 0 || meta.Sequence.Stream >= last) {
		s.setLoaded(max(last, meta.Sequence.Stream))
	}
}

// checkLoaded finds out whether everything was read, although the last messages that were
// there have been removed since.
func (s *Stream) checkLoaded(stream jetstream.Stream) error {
	ctx, cancel := context.WithTimeout(s.ctx, askTime)
	defer cancel()
	if !s.store.IsLoaded() {
		info, err := stream.Info(ctx)
		if err != nil {
			return explain(err)
		}
		if info.State.Msgs == 0 || info.State.LastSeq <= s.store.StreamHead() {
			s.setLoaded(info.State.LastSeq)
		}
	}
	return nil
}

// IsLoaded reports whether the store has what was in the stream when it was opened.
func (s *Stream) IsLoaded() bool {
	select {
	case <-s.loaded:
		return true
	default:
		return false
	}
}

func (s *Stream) setLoaded(head uint64) {
	s.store.SetLoaded(head)
	s.setTrouble(nil)
	if !s.IsLoaded() {
		close(s.loaded)
	}
}
