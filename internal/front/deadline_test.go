package front

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// The context is the one of context.WithTimeout to whoever looks at it.
func TestLateDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		deadline := time.Now().Add(time.Second)
		if d, ok := (&lateDeadline{deadline: deadline}).Deadline(); !ok || !d.Equal(deadline) {
			t.Errorf("the deadline is %v, %v", d, ok)
		}
		expires := &lateDeadline{deadline: deadline}
		child, stop := context.WithCancel(expires)
		defer stop()
		if err := child.Err(); err != nil {
			t.Error(err)
		}
		<-child.Done()
		if err := context.Cause(child); err != context.DeadlineExceeded || time.Now().Before(deadline) {
			t.Errorf("%v at %v", err, time.Until(deadline))
		}
		if err := (&lateDeadline{deadline: deadline}).Err(); err != context.DeadlineExceeded {
			t.Errorf("looked at too late: %v", err)
		}
		for _, before := range []bool{false, true} {
			ended := &lateDeadline{deadline: time.Now().Add(time.Second)}
			if before {
				ended.Done()
			}
			ended.end()
			select {
			case <-ended.Done():
			default:
				t.Error("Connect is over, and its context is not done")
			}
			if err := ended.Err(); err != context.Canceled {
				t.Error(err)
			}
		}
	})
}
