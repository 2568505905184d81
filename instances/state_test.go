package instances_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/instances"
)

// stubborn has a goroutine that does not end with its life, and then saves.
type stubborn struct {
	in      *instances.Instance
	release chan struct{}
	saved   chan error
}

func (*stubborn) Channels() []*channels.Channel { return nil }

func (s *stubborn) Start(ctx context.Context) error {
	if _, err := s.in.Load(ctx, "n"); !errors.Is(err, instances.ErrNoState) {
		return err // a later life
	}
	s.in.Go("a stubborn goroutine", func(context.Context) error {
		<-s.release
		s.saved <- errors.Join(s.in.Save(context.Background(), "n", []byte("old")), s.in.Forget(context.Background(), "n"))
		return nil
	})
	return s.in.Save(ctx, "n", []byte("first"))
}

func (s *stubborn) Signal(ctx context.Context, _ string, _ json.RawMessage) (any, error) {
	data, err := s.in.Load(ctx, "n")
	return string(data), err
}

// TestSaveOfALifeThatIsOver: a goroutine that outlives its life changes nothing of what the next
// one has.
func TestSaveOfALifeThatIsOver(t *testing.T) {
	s := start(t, instances.Options{Grace: 20 * time.Millisecond})
	release, saved := make(chan struct{}), make(chan error, 1)
	s.Register(instances.Define("stubborn", "Does not end.", func(in *instances.Instance, _ struct{}) (instances.Logic, error) {
		return &stubborn{in, release, saved}, nil
	}))
	s.create(t, instances.Spec{ID: "a", Type: "stubborn"})
	if err := s.Drain(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	s.await(t, "a", instances.Stopped)
	if i, err := s.Resume(t.Context(), "a"); err != nil || i.State != instances.Running {
		t.Fatalf("%+v, %v", i, err)
	}
	close(release)
	if err := <-saved; !errors.Is(err, instances.ErrNotRunning) {
		t.Errorf("saving when the life is over: %v", err)
	}
	if data, err := s.Signal(t.Context(), "a", "load", nil); err != nil || string(data) != `"first"` {
		t.Errorf("the next life has %s, %v", data, err)
	}
}
