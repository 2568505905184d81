// Package autosave saves the state of an instance soon after it has changed.
package autosave

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/mycelium-rt/mycelium/instances"
)

// Saver saves the state of an instance at a bounded rate.
type Saver struct {
	in    *instances.Instance
	what  string
	after time.Duration
	save  func(context.Context) error

	scheduled atomic.Bool // a save is due
}

// New returns a Saver that calls save, on a goroutine of the instance, at the given
// time after a change. what names the state in the log, as in "backlogs".
func New(in *instances.Instance, what string, after time.Duration, save func(context.Context) error) *Saver {
	return &Saver{in: in, what: what, after: after, save: save}
}

// Changed schedules a save, unless one is scheduled already. If the save fails, it is
// tried again after the same time. If the instance stops first, nothing is saved, so its
// Stop has to save. Changed may be called with locks held that save takes.
func (s *Saver) Changed() {
	if s.scheduled.Swap(true) {
		return
	}
	s.in.Go("saving "+s.what, func(ctx context.Context) error {
		select {
		case <-time.After(s.after):
		case <-ctx.Done():
			return nil
		}
		s.scheduled.Store(false) // changes from now on may miss this save
		if err := s.save(ctx); err != nil && ctx.Err() == nil {
			s.in.Log().Error().Err(err).Msg(s.what + " not saved, trying again")
			s.Changed()
		}
		return nil
	})
}
