package observer

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/cluster"
	"github.com/mycelium-rt/mycelium/internal/membership"
)

// TestNodes: a sample has this node and the others by name, and nothing of a cluster where
// there is none.
func TestNodes(t *testing.T) {
	started, since := time.Unix(1000, 0), time.Unix(2000, 0)
	view := &membership.View{
		Started: started, Name: "b", Cluster: "prod", Rate: 7, Link: membership.Link{Connected: true}, Stats: cluster.Stats{Waiting: 50, Resent: 3},
		Store: &membership.Store{Trouble: "no quorum", Behind: "one stream"},
		Peers: []membership.Peer{
			{Name: "a", State: membership.Up, Since: since, Facts: membership.Facts{Version: "v1", Sockets: 9, Resent: 4, Draining: true}, Rate: 2.5, Behind: 1, Lost: 6, Ahead: 3 * time.Second},
			{Name: "c", Address: "c:4000", State: membership.Silent, Since: since},
		},
	}
	nodes := Nodes{View: func() *membership.View { return view }, Version: "v2", Sockets: func() int64 { return 5 }}
	s := NewSampler(newCounted(1), nodes, nil, nil)
	s.Sample()
	want := &Cluster{Name: "prod", Connected: true, WaitingBytes: 50, Store: "no quorum", StoreBehind: "one stream", Nodes: []NodeRow{
		{Name: "a", State: membership.Up, Since: since, Version: "v1", Sockets: 9, Entries: 2.5, Behind: 1, Lost: 6, Resent: 4, Draining: true, AheadSeconds: 3},
		{Name: "b", Self: true, State: membership.Up, Since: started, Version: "v2", Sockets: 5, Entries: 7, Resent: 3},
		{Name: "c", Address: "c:4000", State: membership.Silent, Since: since},
	}}
	if got := s.Last().Cluster; !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	view = nil // a single node
	for _, nodes := range []Nodes{{}, nodes} {
		s := NewSampler(newCounted(1), nodes, nil, nil)
		s.Sample()
		text, err := json.Marshal(s.Last())
		if err != nil || strings.Contains(string(text), "cluster") {
			t.Errorf("%v: %s", err, text)
		}
	}
}
