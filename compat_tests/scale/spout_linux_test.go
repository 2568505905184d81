package scale

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/instances"
)

// spout is an instance whose own logic floods. While it is open it broadcasts, at an
// interval or as fast as it can.
type spout struct {
	in    *instances.Instance
	every atomic.Int64 // nanoseconds; 0 means closed, 1 as fast as it can
	wake  chan struct{}
}

func newSpout(in *instances.Instance, _ struct{}) (instances.Logic, error) {
	return &spout{in: in, wake: make(chan struct{}, 1)}, nil
}

func (s *spout) Channels() []*channels.Channel {
	return []*channels.Channel{channels.Handle("*", func(*channels.Context, channels.Payload) (channels.NoReply, error) {
		return channels.NoReply{}, nil
	})}
}

func (s *spout) Start(context.Context) error {
	s.in.Go("spout", s.pour)
	return nil
}

func (s *spout) pour(ctx context.Context) error {
	drop := map[string]string{"body": strings.Repeat("x", 200)}
	for {
		switch every := time.Duration(s.every.Load()); every {
		case 0:
			select {
			case <-s.wake:
			case <-ctx.Done():
				return nil
			}
		case 1:
			s.in.Broadcast(plainTopic, "drop", drop) // the flood is meant to get errors
		default:
			s.in.Broadcast(plainTopic, "drop", drop)
			time.Sleep(every)
		}
	}
}

// Signal opens and closes the spout.
func (s *spout) Signal(_ context.Context, _ string, data json.RawMessage) (any, error) {
	var every time.Duration
	if err := json.Unmarshal(data, &every); err != nil {
		return nil, err
	}
	s.every.Store(int64(every))
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return nil, nil
}

// openSpout serves /spout?every=NANOSECONDS.
func openSpout(r *http.Request, m *instances.Manager) error {
	_, err := m.Signal(r.Context(), "spout", "open", json.RawMessage(r.FormValue("every")))
	return err
}

// writeStats serves /stats?of=ID.
func writeStats(w http.ResponseWriter, r *http.Request, m *instances.Manager) error {
	stats, err := m.Stats(r.FormValue("of"))
	if err != nil {
		return err
	}
	return json.NewEncoder(w).Encode(stats)
}

// raiseSpout creates the instances to be flooded: one by its clients, one by its own logic.
// They have the default limits of mycelium serve.
func raiseSpout(ctx context.Context, m *instances.Manager) error {
	usual := instances.Limits{JoinsPerSecond: 200, MessagesPerSecond: 1000, HeartbeatsPerSecond: 1000}
	for _, spec := range []instances.Spec{
		{ID: "flood", Type: "relay", Config: json.RawMessage(`{"presence_off":["*"]}`), Limits: usual},
		{ID: "spout", Type: "spout", Limits: usual},
	} {
		if _, _, err := m.Create(ctx, spec); err != nil {
			return fmt.Errorf("creating %s: %w", spec.ID, err)
		}
	}
	return nil
}
