// Package natsstore stores instances in a key-value bucket of NATS JetStream, which
// all nodes of a cluster share.
//
// A replicated bucket survives the loss of a minority of its servers. Without a
// majority every method fails, so that the two sides of a partition never disagree.
package natsstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mycelium-rt/mycelium/instances"
)

const (
	// DefaultBucket is the default of Options.Bucket.
	DefaultBucket = "mycelium_instances"
	// headroom bounds a message's size beyond its value, in bytes: header fields
	// count toward max_payload too.
	headroom = 4 << 10
	// markerAge is how long the bucket remembers that a key was deleted. A watch resumes
	// after the last revision that it has seen, so one that is cut off for longer may miss
	// the deletion.
	markerAge = 24 * time.Hour
	// pause is the pause between two attempts.
	pause = 200 * time.Millisecond
	// readTime bounds a read with all its attempts.
	readTime = 5 * time.Second
	// answerTime is how long an answer to a read may take before the read is sent again. Only
	// the server that leads the bucket answers, and if it stops, the requests that it has
	// received are lost.
	answerTime = time.Second
	// listReaders bounds how many keys List reads at the same time.
	listReaders = 32
	// clusterUnavailable is the code of "JetStream system temporarily unavailable", which has no
	// name in nats.go (JSClusterNotAvailErr in nats-server/server/errors.json).
	clusterUnavailable jetstream.ErrorCode = 10008
	// headerExpectedLast and headerExpectedSubject make the server reject a message
	// unless the last message of another subject has this sequence number
	// (https://docs.nats.io/nats-concepts/jetstream/headers).
	headerExpectedLast    = "Nats-Expected-Last-Subject-Sequence"
	headerExpectedSubject = "Nats-Expected-Last-Subject-Sequence-Subject"
)

// Options configure [Open].
type Options struct {
	// Bucket is the name of the bucket: letters, digits, _ and -. Default
	// DefaultBucket.
	Bucket string
	// Replicas is how many servers store each key: 1, 3 or 5. Default 1. It applies
	// only to a bucket that Open creates.
	Replicas int
}

// Store is an instances.SharedStore. Its methods are safe from any goroutine.
type Store struct {
	conn   *nats.Conn
	stream jetstream.Stream
	bucket jetstream.KeyValue
	js     jetstream.JetStream
	prefix string // of subjects: "$KV.<bucket>."
}

var _ instances.SharedStore = (*Store)(nil)

// Open opens the bucket, and creates it if it does not exist. It waits until
// JetStream answers or ctx ends: a group of embedded servers needs a few seconds to
// elect its leader. The store owns conn: Close closes it, and so does Open when it
// fails.
func Open(ctx context.Context, conn *nats.Conn, o Options) (*Store, error) {
	o.Bucket = cmp.Or(o.Bucket, DefaultBucket)
	s, err := open(ctx, conn, o)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("natsstore: bucket %s: %w", o.Bucket, err)
	}
	return s, nil
}

func open(ctx context.Context, conn *nats.Conn, o Options) (*Store, error) {
	if limit, want := conn.MaxPayload(), int64(instances.MaxStateBytes+headroom); limit < want {
		return nil, fmt.Errorf("the NATS server's max_payload is %d bytes, want at least %d", limit, want)
	}
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	s := &Store{conn: conn, js: js, prefix: "$KV." + o.Bucket + "."}
	for {
		s.stream, err = ensureStream(ctx, js, o)
		if err == nil {
			break
		}
		if !retryable(err) {
			return nil, err
		}
		select { // no leader yet, or too few servers for the replicas
		case <-ctx.Done():
			return nil, fmt.Errorf("JetStream does not answer, or has no leader because most of its servers are not reachable: %w", err)
		case <-time.After(pause):
		}
	}
	s.bucket, err = js.KeyValue(ctx, o.Bucket)
	return s, err
}

// retryable reports whether ensureStream may succeed later.
func retryable(err error) bool {
	return !errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) && !errors.Is(err, jetstream.ErrInvalidBucketName) &&
		!errors.Is(err, jetstream.ErrInvalidStreamName) && !errors.Is(err, nats.ErrConnectionClosed)
}

// ensureStream creates the stream of the bucket as nats.go would, but without
// direct reads. Any replica answers a direct read, and one that lags would show an
// instance that is gone, or hide one that was just created.
func ensureStream(ctx context.Context, js jetstream.JetStream, o Options) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	name := "KV_" + o.Bucket
	stream, err := js.Stream(ctx, name)
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return stream, err
	}
	stream, err = js.CreateStream(ctx, jetstream.StreamConfig{
		Name: name, Subjects: []string{"$KV." + o.Bucket + ".>"}, Description: "instances of mycelium",
		Storage: jetstream.FileStorage, Replicas: max(1, o.Replicas), Discard: jetstream.DiscardNew,
		MaxMsgsPerSubject: 1, MaxMsgs: -1, MaxBytes: -1, MaxConsumers: -1, MaxMsgSize: instances.MaxStateBytes + headroom,
		DenyDelete: true, AllowRollup: true, AllowMsgTTL: true, SubjectDeleteMarkerTTL: markerAge,
	})
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another node was first
		return js.Stream(ctx, name)
	}
	return stream, err
}

// Get implements [instances.Store]. It reads from the bucket's leader.
func (s *Store) Get(ctx context.Context, key string) (e instances.Entry, err error) {
	err = again(ctx, func(ctx context.Context) error {
		got, err := s.bucket.Get(ctx, key)
		if err == nil {
			e = instances.Entry{Key: key, Value: got.Value(), Revision: got.Revision()}
		}
		return err
	})
	return e, s.translate(err)
}

// again calls read until it is answered, for at most readTime.
func again(ctx context.Context, read func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	for {
		err := attempt(ctx, read)
		if ctx.Err() != nil || !unanswered(err) {
			return err
		}
		select { // without a leader of the bucket, NATS answers at once
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

func attempt(ctx context.Context, request func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	return request(ctx)
}

// unanswered reports whether a request failed because no server answered it, or because
// the one that answered knows of no leader.
func unanswered(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.ErrorCode == clusterUnavailable
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) ||
		errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse)
}

// Put implements [instances.Store]. After an error other than ErrKeyRevision the value
// may still have been stored.
func (s *Store) Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	var next uint64
	var err error
	switch revision {
	case instances.AnyRevision:
		next, err = s.bucket.Put(ctx, key, value)
	case 0:
		next, err = s.bucket.Create(ctx, key, value)
	default:
		next, err = s.bucket.Update(ctx, key, value, revision)
	}
	return next, s.translate(err)
}

// PutIf implements [instances.SharedStore].
func (s *Store) PutIf(ctx context.Context, key string, value []byte, other string, revision uint64) (uint64, error) {
	m := nats.NewMsg(s.prefix + key)
	m.Data = value
	return s.publishIf(ctx, m, other, revision)
}

// DeleteIf implements [instances.SharedStore].
func (s *Store) DeleteIf(ctx context.Context, key, other string, revision uint64) error {
	m := nats.NewMsg(s.prefix + key)
	m.Header.Set("KV-Operation", "PURGE") // how nats.go marks a deleted key
	m.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
	_, err := s.publishIf(ctx, m, other, revision, jetstream.WithMsgTTL(markerAge))
	return err
}

func (s *Store) publishIf(ctx context.Context, m *nats.Msg, other string, revision uint64, options ...jetstream.PublishOpt) (uint64, error) {
	m.Header.Set(headerExpectedLast, fmt.Sprint(revision))
	m.Header.Set(headerExpectedSubject, s.prefix+other)
	ack, err := s.js.PublishMsg(ctx, m, options...)
	if err != nil {
		return 0, s.translate(err)
	}
	return ack.Sequence, nil
}

// Delete implements [instances.Store].
func (s *Store) Delete(ctx context.Context, key string, revision uint64) error {
	for {
		e, err := s.Get(ctx, key)
		switch {
		case err != nil:
			return err
		case revision != instances.AnyRevision && e.Revision != revision:
			return instances.ErrKeyRevision
		}
		err = s.translate(s.bucket.Purge(ctx, key, jetstream.LastRevision(e.Revision), jetstream.PurgeTTL(markerAge)))
		if revision != instances.AnyRevision || !errors.Is(err, instances.ErrKeyRevision) {
			return err
		}
		// The key changed in between: the next round deletes its new value.
	}
}

// List implements [instances.Store]. Each entry is as it was at some moment during the
// call.
func (s *Store) List(ctx context.Context, prefix string) ([]instances.Entry, error) {
	var info *jetstream.StreamInfo
	err := again(ctx, func(ctx context.Context) (err error) {
		info, err = s.stream.Info(ctx, jetstream.WithSubjectFilter(s.prefix+filterOf(prefix)))
		return err
	})
	if err != nil {
		return nil, s.translate(err)
	}
	var keys []string
	for subject := range info.State.Subjects {
		if key := strings.TrimPrefix(subject, s.prefix); strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	entries := make([]instances.Entry, len(keys))
	if err := s.getAll(ctx, keys, entries); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(entries, func(e instances.Entry) bool { return e.Key == "" }), nil
}

// getAll reads keys[i] into entries[i]. The entry of a deleted key, of which the stream
// has only a marker, stays empty.
func (s *Store) getAll(ctx context.Context, keys []string, entries []instances.Entry) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(listReaders, len(keys)) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(keys) && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				var err error
				if entries[i], err = s.Get(ctx, keys[i]); err != nil && !errors.Is(err, instances.ErrKeyNotFound) {
					cancel(err)
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// filterOf returns the narrowest NATS filter that matches all keys with a prefix.
func filterOf(prefix string) string {
	if i := strings.LastIndexByte(prefix, '.'); i > 0 {
		return prefix[:i+1] + ">"
	}
	return ">"
}

// Close implements [instances.Store]. It closes the connection.
func (s *Store) Close() error {
	s.conn.Close()
	return nil
}

// translate returns the error of package instances for an error of NATS.
func (s *Store) translate(err error) error {
	var wrong *jetstream.APIError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return instances.ErrKeyNotFound
	case errors.Is(err, jetstream.ErrKeyExists), errors.Is(err, jetstream.ErrKeyRevisionMismatch),
		errors.As(err, &wrong) && (wrong.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
			wrong.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant):
		return instances.ErrKeyRevision
	}
	return fmt.Errorf("natsstore: %w", err)
}
