// Package linktest simulates the store of a cluster as one node reaches it over a
// network that can be cut.
package linktest

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/mycelium-rt/mycelium/instances"
)

// ErrCut is the error of a request that a cut link does not answer.
var ErrCut = errors.New("no answer")

// Link is a store as one node reaches it. It is for tests with a fake clock:
// each request takes some milliseconds. Over a cut link a request fails when its
// context ends; it is lost, still carried out, or carried out much later, as if it
// had been in some buffer. Changes are yielded when the link is whole again; some
// watches end then.
type Link struct {
	*instances.Memory
	mu   sync.Mutex
	cut  bool
	back chan struct{} // closed when the cut is over
	late int           // how many requests are delayed
	none *sync.Cond    // that late is 0
}

var _ instances.SharedStore = (*Link)(nil)

// New returns a link to a store.
func New(m *instances.Memory) *Link {
	l := &Link{Memory: m}
	l.none = sync.NewCond(&l.mu)
	return l
}

// SetCut cuts the link, or repairs it.
func (l *Link) SetCut(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if cut == l.cut {
		return
	}
	if l.cut = cut; cut {
		l.back = make(chan struct{})
	} else {
		close(l.back)
	}
}

// IsCut reports whether the link is cut.
func (l *Link) IsCut() bool {
	cut, _ := l.state()
	return cut
}

// WaitLate waits until the delayed requests have been carried out. Others may begin
// meanwhile, which is what a [sync.WaitGroup] forbids.
func (l *Link) WaitLate() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.late > 0 {
		l.none.Wait()
	}
}

// goLate carries a request out after up to 20 seconds.
func (l *Link) goLate(do func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.late++
	go func() {
		time.Sleep(time.Duration(rand.IntN(20_000)) * time.Millisecond)
		do()
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.late--; l.late == 0 {
			l.none.Broadcast()
		}
	}()
}

func (l *Link) state() (cut bool, back chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cut, l.back
}

func ask[T any](ctx context.Context, l *Link, do func() (T, error)) (v T, err error) {
	time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond)
	cut, _ := l.state()
	if !cut {
		v, err := do()
		time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond)
		if cut, _ = l.state(); !cut {
			return v, err
		}
	} else if rand.IntN(2) == 0 {
		l.goLate(func() { do() }) //nolint:errcheck // nobody is waiting for it
	}
	<-ctx.Done()
	var none T
	return none, ErrCut
}

// Get implements [instances.Store].
func (l *Link) Get(ctx context.Context, key string) (instances.Entry, error) {
	return ask(ctx, l, func() (instances.Entry, error) { return l.Memory.Get(ctx, key) })
}

// List implements [instances.Store].
func (l *Link) List(ctx context.Context, prefix string) ([]instances.Entry, error) {
	return ask(ctx, l, func() ([]instances.Entry, error) { return l.Memory.List(ctx, prefix) })
}

// Put implements [instances.Store].
func (l *Link) Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	return ask(ctx, l, func() (uint64, error) { return l.Memory.Put(ctx, key, value, revision) })
}

// PutIf implements [instances.SharedStore].
func (l *Link) PutIf(ctx context.Context, key string, value []byte, other string, revision uint64) (uint64, error) {
	return ask(ctx, l, func() (uint64, error) { return l.Memory.PutIf(ctx, key, value, other, revision) })
}

// Delete implements [instances.Store].
func (l *Link) Delete(ctx context.Context, key string, revision uint64) error {
	_, err := ask(ctx, l, func() (struct{}, error) { return struct{}{}, l.Memory.Delete(ctx, key, revision) })
	return err
}

// DeleteIf implements [instances.SharedStore].
func (l *Link) DeleteIf(ctx context.Context, key, other string, revision uint64) error {
	_, err := ask(ctx, l, func() (struct{}, error) { return struct{}{}, l.Memory.DeleteIf(ctx, key, other, revision) })
	return err
}

// Watch implements [instances.SharedStore].
func (l *Link) Watch(ctx context.Context, prefix string) iter.Seq2[instances.Change, error] {
	return func(yield func(instances.Change, error) bool) {
		for c, err := range l.Memory.Watch(ctx, prefix) {
			if cut, back := l.state(); cut {
				select {
				case <-back:
				case <-ctx.Done():
					return
				}
				if rand.IntN(2) == 0 {
					yield(instances.Change{}, ErrCut)
					return
				}
			}
			if !yield(c, err) {
				return
			}
		}
	}
}
