package natsstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/instances/natsstore"
	"github.com/mycelium-rt/mycelium/internal/waittest"
)

// keeper is logic that saves how many lives it has had.
type keeper struct{ in *instances.Instance }

func (k *keeper) Channels() []*channels.Channel { return nil }

func (k *keeper) Start(ctx context.Context) error {
	lives, err := k.in.Load(ctx, "lives")
	if err != nil && !errors.Is(err, instances.ErrNoState) {
		return err
	}
	return k.in.Save(ctx, "lives", append(lives, 'x'))
}

func (k *keeper) Stop(ctx context.Context) error { return k.in.Forget(ctx, "nothing") }

func manage(t *testing.T, store *natsstore.Store, name string) *instances.Manager {
	t.Helper()
	m := instances.New(channelstest.Start(t, channels.Options{}).Endpoint, instances.Options{Store: store, Node: name, Address: name + ".example"})
	build := func(in *instances.Instance, _ struct{}) (instances.Logic, error) { return &keeper{in}, nil }
	m.Register(instances.Define("single", "Has one owner.", build))
	m.Register(instances.Define("spread", "Is everywhere.", build).Spread())
	if err := m.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeManager(t, m) })
	return m
}

func closeManager(t *testing.T, m *instances.Manager) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := m.Close(ctx); err != nil && !errors.Is(err, instances.ErrClosed) {
		t.Error(err)
	}
}

// TestManagers: two managers on JetStream know the same instances, hand one over with
// its state, and leave nothing behind of a deleted one.
func TestManagers(t *testing.T) {
	one := serve(t, 1)[0]
	a, b := manage(t, open(t, one, natsstore.Options{}), "a"), manage(t, open(t, one, natsstore.Options{}), "b")
	store := open(t, one, natsstore.Options{})
	var created []string
	for i := range 6 {
		spec := instances.Spec{ID: fmt.Sprint("game-", i), Type: "single"}
		if i == 5 {
			spec.Type = "spread"
		}
		if i, is, err := a.Create(t.Context(), spec); err != nil || !is || i.State != instances.Running {
			t.Fatalf("%+v, %v, %v", i, is, err)
		}
		created = append(created, spec.ID)
	}
	running := func(m *instances.Manager, node string) bool {
		for _, id := range created {
			if i, err := m.Get(id); err != nil || i.State != instances.Running || node != "" && i.Node != node && i.Type == "single" {
				return false
			}
		}
		return true
	}
	waittest.For(t, "b knows them all", func() bool { return running(b, "") })
	if i, err := b.Update(t.Context(), "game-0", instances.AnyRevision, func(s *instances.Spec) error { s.Labels = map[string]string{"x": "y"}; return nil }); err != nil || i.Labels["x"] != "y" {
		t.Fatalf("%+v, %v", i, err)
	}
	closeManager(t, a)
	begun := time.Now()
	waittest.For(t, "b runs them all", func() bool { return running(b, "b") })
	t.Logf("handed over %s after the first node was closed", time.Since(begun))
	for _, id := range created[:5] {
		e, err := store.Get(t.Context(), "state."+id+".lives")
		if lives := strings.Count(string(e.Value), "x"); err != nil || lives < 1 || lives > 2 {
			t.Errorf("%s has had %d lives, %v", id, lives, err)
		}
	}
	for _, id := range created {
		if err := b.Delete(t.Context(), id, instances.AnyRevision); err != nil {
			t.Fatal(err)
		}
	}
	waittest.For(t, "nothing is left but the lease of b", func() bool {
		entries, err := store.List(t.Context(), "")
		return err == nil && len(entries) == 1 && entries[0].Key == "node.b"
	})
	if i, is, err := b.Create(t.Context(), instances.Spec{ID: "game-0", Type: "single"}); err != nil || !is || i.State != instances.Running {
		t.Errorf("created again: %+v, %v, %v", i, is, err)
	}
}
