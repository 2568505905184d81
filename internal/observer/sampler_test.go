package observer

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/instances"
)

// counted is a manager that has counted what the test says.
type counted struct {
	infos []instances.Info
	stats map[string]instances.Stats
}

// Survey has them in an order of its own, as a manager has.
func (c *counted) Survey() (seen []instances.Glance) {
	for _, i := range slices.Backward(c.infos) {
		seen = append(seen, instances.Glance{ID: i.ID, Type: i.Type, State: i.State, Node: i.Node, Stats: c.stats[i.ID]})
	}
	return seen
}

func newCounted(n int) *counted {
	c := &counted{stats: map[string]instances.Stats{}}
	for i := range n {
		id := fmt.Sprintf("i%d", i)
		c.infos = append(c.infos, instances.Info{Spec: instances.Spec{ID: id, Type: []string{"relay", "chat"}[i%2]}, State: instances.Running})
		c.stats[id] = instances.Stats{}
	}
	return c
}

func TestRates(t *testing.T) {
	now := time.Unix(1000, 0)
	c := newCounted(5)
	c.stats["i3"] = instances.Stats{MessagesIn: 100, Connections: 7, Channels: 9}
	s := NewSampler(c, Nodes{}, nil, func() time.Time { return now })
	s.Sample()
	if got := s.Last().MessagesIn; got != 0 {
		t.Errorf("%v messages a second before there was a second", got)
	}
	now = now.Add(2 * time.Second)
	c.stats["i3"] = instances.Stats{MessagesIn: 150, BytesOut: 2000, Connections: 8, Channels: 9}
	c.infos[4].State = instances.Failed
	s.Sample()
	got := s.Last()
	if got.MessagesIn != 25 || got.BytesOut != 1000 || got.Connections != 8 || got.Channels != 9 || got.Instances != 5 {
		t.Errorf("sample %+v", got)
	}
	if !reflect.DeepEqual(got.States, map[instances.State]int{instances.Running: 4, instances.Failed: 1}) || got.Types["relay"] != 3 {
		t.Errorf("states %v, types %v", got.States, got.Types)
	}
	if got.Process.Goroutines < 1 || got.Process.HeapBytes == 0 || got.Process.Cores < 1 {
		t.Errorf("process %+v", got.Process)
	}
}

// TestRecorded: what instances have recorded is in a sample once there is something.
func TestRecorded(t *testing.T) {
	var stats history.Stats
	c := newCounted(3)
	c.stats["i0"] = instances.Stats{Replays: 3, NotRecovered: 1}
	c.stats["i1"] = instances.Stats{Replays: 2}
	s := NewSampler(c, Nodes{}, func() history.Stats { return stats }, nil)
	s.Sample()
	if got := s.Last().Recorded; got != nil {
		t.Errorf("before anything was recorded: %+v", got)
	}
	stats = history.Stats{Topics: 4, Messages: 50, Bytes: 600, Recorded: 70, Evicted: 8, Memory: 900}
	s.Sample()
	want := Recorded{Topics: 4, Messages: 50, Bytes: 600, Memory: 900, Evicted: 8, Replays: 5, NotRecovered: 1}
	if got := s.Last().Recorded; got == nil || *got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestRowsOfNodes: a row names the node that runs the instance, and can be found by it.
func TestRowsOfNodes(t *testing.T) {
	c := newCounted(6)
	c.infos[2].Node, c.infos[4].Node = "ash", "elm"
	s := NewSampler(c, Nodes{}, nil, nil)
	s.Sample()
	if rows, total := s.Rows(View{Find: "ash", Limit: 10}); total != 1 || rows[0].ID != "i2" || rows[0].Node != "ash" {
		t.Errorf("%+v", rows)
	}
}

// The last minutes are kept, oldest first, for those that had a client alone,
// and forgotten with the instance.
func TestHistory(t *testing.T) {
	now := time.Unix(1000, 0)
	c := newCounted(3)
	s := NewSampler(c, Nodes{}, nil, func() time.Time { return now })
	for i := range kept + 10 {
		c.stats["i1"] = instances.Stats{Connections: int64(i), MessagesOut: int64(i * i)}
		s.Sample()
		now = now.Add(time.Second)
	}
	h := s.History("i1")
	if len(h.Connections) != kept || len(h.Rates) != kept || h.Connections[0] != 10 || h.Connections[kept-1] != kept+9 {
		t.Errorf("%d samples from %d to %d", len(h.Connections), h.Connections[0], h.Connections[len(h.Connections)-1])
	}
	if got, want := h.Rates[kept-1].MessagesOut, float64(2*(kept+9)-1); got != want {
		t.Errorf("%v messages a second, want %v", got, want)
	}
	if all := s.History(""); len(all.Connections) != kept || all.Connections[kept-1] != kept+9 {
		t.Error("the sum is another")
	}
	if len(s.History("i0").Rates) != 0 || s.History("i0").Rates == nil {
		t.Error("an idle instance has a series, or null")
	}
	c.infos = c.infos[:1]
	s.Sample()
	if len(s.series) != 0 {
		t.Error("the series of an instance that is gone is kept")
	}
}

func TestRows(t *testing.T) {
	now := time.Unix(1000, 0)
	c := newCounted(6)
	s := NewSampler(c, Nodes{}, nil, func() time.Time { return now })
	s.Sample()
	now = now.Add(time.Second)
	for i := range 6 {
		c.stats[fmt.Sprintf("i%d", i)] = instances.Stats{MessagesIn: int64(10 * (i % 3)), Connections: int64(i)}
	}
	c.infos[5].State = instances.Stopped
	s.Sample()
	for _, test := range []struct {
		view  View
		ids   string
		total int
	}{
		{View{Limit: 10}, "i0 i1 i2 i3 i4 i5", 6},
		{View{Limit: 2, Offset: 3}, "i3 i4", 6},
		{View{Limit: 10, Sort: "messages"}, "i2 i5 i1 i4 i0 i3", 6},
		{View{Limit: 3, Sort: "connections"}, "i5 i4 i3", 6},
		{View{Limit: 10, Type: "chat", State: instances.Running}, "i1 i3", 2},
		{View{Limit: 10, Find: "4"}, "i4", 1},
		{View{Limit: 10, Find: "lay"}, "i0 i2 i4", 3},
		{View{Limit: -1, Offset: -5}, "", 6},
		{View{Limit: 10, Offset: 100}, "", 6},
	} {
		rows, total := s.Rows(test.view)
		var ids []string
		for _, r := range rows {
			ids = append(ids, r.ID)
		}
		if got := strings.Join(ids, " "); got != test.ids || total != test.total {
			t.Errorf("%+v: %s of %d, want %s of %d", test.view, got, total, test.ids, test.total)
		}
	}
}
