package metrics

import (
	"cmp"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/cluster"
	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/internal/membership"
	"github.com/mycelium-rt/mycelium/presence"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// source is a Source of what a test says.
type source struct {
	ready  error
	server channels.Stats
	types  []Type

	dropped int64
	cluster *membership.View
	history history.Stats
	hooks   Hooks
}

func (s *source) Ready() error           { return s.ready }
func (s *source) Server() channels.Stats { return s.server }
func (s *source) Types() []Type          { return s.types }
func (s *source) LogDropped() int64      { return s.dropped }

func (s *source) History() history.Stats { return s.history }

func (s *source) Hooks() Hooks { return s.hooks }

func (s *source) Cluster() *membership.View { return s.cluster }

// fill gives each counter below v a number of its own, from n on.
func fill(v reflect.Value, n *int64, name string, names map[int64]string) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), n, name+"."+v.Type().Field(i).Name, names)
		}
	case reflect.Int64, reflect.Int:
		*n++
		v.SetInt(*n)
		if v.Type() == reflect.TypeFor[time.Duration]() {
			v.SetInt(*n * int64(time.Second))
		}
		names[*n] = name
	case reflect.Uint64:
		if v.Type() != reflect.TypeFor[cluster.LogID]() {
			*n++
			v.SetUint(uint64(*n))
			names[*n] = name
		}
	}
}

// TestEveryCounterIsShown: whoever adds a counter gives it a metric.
func TestEveryCounterIsShown(t *testing.T) {
	names, n := map[int64]string{}, int64(1000)
	s := &source{types: []Type{{Name: "relay"}}, cluster: &membership.View{Peers: make([]membership.Peer, 1)}}
	fill(reflect.ValueOf(s.cluster).Elem(), &n, "Cluster", names)
	fill(reflect.ValueOf(&s.cluster.Peers[0]).Elem(), &n, "Peer", names)
	fill(reflect.ValueOf(&s.server.Network).Elem(), &n, "Network", names)
	fill(reflect.ValueOf(&s.types[0]).Elem(), &n, "Type", names)
	fill(reflect.ValueOf(&s.history).Elem(), &n, "History", names)
	s.hooks = Hooks{Told: make([]ToldHook, 1), Deciding: []DecidingHook{{Kinds: make([]Decisions, 1)}}}
	fill(reflect.ValueOf(&s.hooks.Events).Elem(), &n, "Events", names)
	told := &s.hooks.Told[0]
	fill(reflect.ValueOf(told).Elem(), &n, "ToldHook", names)
	told.Requests += told.Failed // of which those that were taken are what was filled in
	fill(reflect.ValueOf(&s.hooks.Deciding[0]).Elem(), &n, "DecidingHook", names)
	fill(reflect.ValueOf(&s.hooks.Deciding[0].Kinds[0]).Elem(), &n, "Decisions", names)
	s.history.Durable = new(history.DurableStats)
	fill(reflect.ValueOf(s.history.Durable).Elem(), &n, "History.Durable", names)
	s.types[0].Stats.Network = channels.Stats{}.Network
	s.dropped = n + 1
	names[s.dropped] = "LogDropped"
	stats := &s.types[0].Stats
	stats.Sockets += stats.LongPoll.Sessions + stats.TCP.Sockets // of which the WebSockets are what was filled in
	gathered, err := newRegistry(s, "1.2.3").Gather()
	if err != nil {
		t.Fatal(err)
	}
	shown := map[int64]string{}
	for _, f := range gathered {
		for _, m := range f.Metric {
			if !strings.HasPrefix(f.GetName(), "mycelium_") {
				continue
			}
			value := int64(m.GetGauge().GetValue() + m.GetCounter().GetValue())
			if other := shown[value]; other != "" && value > 1000 {
				t.Errorf("%s and %s are one counter", other, f.GetName())
			}
			shown[value] = f.GetName()
		}
	}
	for value, name := range names {
		if shown[value] == "" && !strings.HasPrefix(name, "Type.Stats.Network.") && name != "Peer.Facts.Time" && !strings.Contains(name, ".Durations.") {
			t.Errorf("no metric shows %s", name)
		}
	}
}

// TestRegistry: the table, what is gathered, and the habits of Prometheus.
func TestRegistry(t *testing.T) {
	r := newRegistry(&source{history: history.Stats{Durable: new(history.DurableStats)},
		types:   []Type{{Name: "relay", Instances: map[string]int{"running": 1}}, {Name: "chat"}},
		cluster: &membership.View{Peers: []membership.Peer{{Name: "b", State: membership.Up}}, Store: new(membership.Store)},
		hooks:   Hooks{Told: []ToldHook{{Hook: "app"}}, Deciding: []DecidingHook{{Hook: "app", Kinds: []Decisions{{Kind: "join"}}}}},
	}, "1.2.3")
	problems, err := testutil.GatherAndLint(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "mycelium_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	want := []string{buildInfo}
	for _, f := range families {
		want = append(want, f.name)
		if !strings.HasSuffix(f.help, ".") || strings.Contains(f.help, "|") || strings.HasSuffix(f.name, "_total") != (f.kind == counter) {
			t.Errorf("%s: a row that is not whole: %+v", f.name, f)
		}
	}
	for _, h := range histograms {
		want = append(want, h.name)
	}
	slices.Sort(want)
	var got []string
	gathered, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]bool{}
	for _, f := range gathered {
		if !strings.HasPrefix(f.GetName(), "mycelium_") {
			continue
		}
		got = append(got, f.GetName())
		for _, m := range f.Metric {
			for _, l := range m.Label {
				labels[l.GetName()] = true
			}
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("gathered\n%q\nthe table has\n%q", got, want)
	}
	bounded := map[string]bool{"type": true, "state": true, "reason": true, "transport": true, "version": true, "node": true, "hook": true, "kind": true, "outcome": true}
	if !reflect.DeepEqual(labels, bounded) {
		t.Errorf("labels %v, want %v: each of them has a few values, however many topics and instances there are", labels, bounded)
	}
}

func TestValues(t *testing.T) {
	s := &source{types: []Type{{
		Name: "relay", Instances: map[string]int{"running": 2, "failed": 1},
		Stats:    channels.Stats{Sockets: 11, LongPoll: channels.LongPollStats{Sessions: 3}, TCP: channels.TCPStats{Sockets: 1}},
		Presence: presence.Stats{Topics: 4, Keys: 5},
	}}}
	want := `
# HELP mycelium_instances Instances now, by state.
# TYPE mycelium_instances gauge
mycelium_instances{state="failed",type="relay"} 1
mycelium_instances{state="running",type="relay"} 2
# HELP mycelium_presence_keys Presence keys, counted for each topic.
# TYPE mycelium_presence_keys gauge
mycelium_presence_keys{type="relay"} 5
# HELP mycelium_ready 1 if the server takes clients, as /readyz answers, else 0.
# TYPE mycelium_ready gauge
mycelium_ready 1
# HELP mycelium_sockets Sockets connected now.
# TYPE mycelium_sockets gauge
mycelium_sockets{transport="longpoll",type="relay"} 3
mycelium_sockets{transport="tcp",type="relay"} 1
mycelium_sockets{transport="websocket",type="relay"} 7
`
	names := []string{"mycelium_instances", "mycelium_presence_keys", "mycelium_ready", "mycelium_sockets"}
	if err := testutil.GatherAndCompare(newRegistry(s, "1"), strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
	if found, err := testutil.GatherAndCount(newRegistry(s, "1"), "mycelium_cluster_connected", "mycelium_cluster_node_state"); err != nil || found > 0 {
		t.Errorf("a single node has %d values of a cluster, %v", found, err)
	}
	s.ready = errors.New("draining")
	want = strings.Replace(want, "\nmycelium_ready 1", "\nmycelium_ready 0", 1)
	if err := testutil.GatherAndCompare(newRegistry(s, "1"), strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
}

func TestAccess(t *testing.T) {
	networks := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	const token = "0123456789abcdef"
	for _, c := range []struct {
		peer, host, header, value, token string
		status                           int
	}{
		{peer: "127.0.0.1:1", status: 200},
		{peer: "[::ffff:127.0.0.2]:1", status: 200},
		{peer: "[2001:db8::1]:1", status: 200},
		{peer: "[::1]:1", status: 401},
		{peer: "10.0.0.1:1", status: 401},
		{peer: "@", status: 401}, // a Unix socket's
		{peer: "127.0.0.1:1", header: "X-Forwarded-For", value: "127.0.0.1", status: 401},
		{peer: "127.0.0.1:1", header: "Forwarded", value: "for=127.0.0.1", status: 401},
		{peer: "10.0.0.1:1", header: "X-Forwarded-For", value: "127.0.0.1", status: 401},
		{peer: "10.0.0.1:1", header: "Authorization", value: "Bearer " + token, token: token, status: 200},
		{peer: "10.0.0.1:1", header: "Authorization", value: "bearer " + token, token: token, status: 200},
		{peer: "10.0.0.1:1", header: "Authorization", value: "Bearer " + token + "x", token: token, status: 401},
		{peer: "10.0.0.1:1", header: "Authorization", value: "Basic " + token, token: token, status: 401},
		{peer: "127.0.0.1:1", header: "X-Forwarded-Proto", value: "https", status: 401},
		{peer: "127.0.0.1:1", host: "localhost:9090", status: 200},
		{peer: "127.0.0.1:1", host: "[::1]:9090", status: 200},
		{peer: "127.0.0.1:1", host: "[::1]", status: 200},
		// A page that has pointed its own name here, and one of another server.
		{peer: "127.0.0.1:1", host: "evil.example:9090", status: 401},
		{peer: "127.0.0.1:1", host: "127.0.0.1.evil.example", status: 401},
		{peer: "127.0.0.1:1", header: "Origin", value: "http://evil.example", status: 401},
		{peer: "10.0.0.1:1", host: "rt.example.com", header: "Authorization", value: "Bearer " + token, token: token, status: 200},
		{peer: "10.0.0.1:1", header: "Authorization", value: "Bearer mk_right", status: 200},
		{peer: "10.0.0.1:1", header: "Authorization", value: "Bearer mk_wrong", status: 401},
		{peer: "10.0.0.1:1", header: "Authorization", value: "Bearer ", status: 401},
		{peer: "10.0.0.1:1", header: "Authorization", value: "Bearer " + token, status: 401},
	} {
		h := NewHandler(&source{}, "1")
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.RemoteAddr, r.Host = c.peer, cmp.Or(c.host, "127.0.0.1:9090")
		if c.header != "" {
			r.Header.Set(c.header, c.value)
		}
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != http.StatusUnauthorized {
			t.Errorf("%+v: %d before anybody was allowed", c, w.Code)
		}
		h.SetAccess(Access{Networks: networks, Token: c.token, Key: func(r *http.Request) bool {
			return r.Header.Get("Authorization") == "Bearer mk_right"
		}})
		w = httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if shown := strings.Contains(w.Body.String(), "mycelium_ready 1"); w.Code != c.status || shown != (c.status == 200) {
			t.Errorf("%+v: %d, metrics shown: %v", c, w.Code, shown)
		}
	}
}

func TestHealth(t *testing.T) {
	for _, c := range []struct {
		handler http.HandlerFunc
		status  int
		text    string
	}{
		{Health, 200, "ok\n"},
		{Ready(func() error { return nil }), 200, "ok\n"},
		{Ready(func() error { return channels.ErrFull }), 503, "full\n"},
	} {
		w := httptest.NewRecorder()
		c.handler(w, httptest.NewRequest(http.MethodGet, "/", nil))
		if w.Code != c.status || w.Body.String() != c.text || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%d %q %v, want %d %q", w.Code, w.Body, w.Header(), c.status, c.text)
		}
	}
}

// TestHistograms: the buckets of a histogram are cumulative, and its sum is in seconds.
func TestHistograms(t *testing.T) {
	bounds := []time.Duration{10 * time.Millisecond, time.Second}
	h := Histogram{Bounds: bounds, Buckets: []int64{3, 2, 1}, Sum: 3500 * time.Millisecond}
	h.Add(Histogram{Bounds: bounds, Buckets: []int64{1, 0, 1}, Sum: time.Second})
	s := &source{hooks: Hooks{Told: []ToldHook{{Hook: "app", Durations: h}}}}
	gathered, err := newRegistry(s, "1.2.3").Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range gathered {
		if f.GetName() != "mycelium_hook_event_request_seconds" {
			continue
		}
		got := f.Metric[0].GetHistogram()
		if got.GetSampleCount() != 8 || got.GetSampleSum() != 4.5 || got.Bucket[0].GetCumulativeCount() != 4 || got.Bucket[1].GetCumulativeCount() != 6 || got.Bucket[0].GetUpperBound() != 0.01 {
			t.Errorf("histogram %v", got)
		}
		return
	}
	t.Error("there is no histogram")
}
