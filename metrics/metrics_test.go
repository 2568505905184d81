package metrics_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/metrics"
	"github.com/mycelium-rt/mycelium/presence"
)

type params struct {
	User string `json:"user"`
}

func TestCollector(t *testing.T) {
	e := channelstest.Start(t, channels.Options{})
	who := presence.New(e, presence.Options{})
	defer who.Close()
	m := metrics.New(e.Endpoint, metrics.Options{Presence: []*presence.Tracker{who}, Buckets: []float64{100}})
	room := channels.Handle("room:*", func(c *channels.Context, p params) (channels.NoReply, error) {
		if p.User == "" {
			return channels.NoReply{}, channels.Errorf("no user")
		}
		_, err := who.Track(c, p.User, struct{}{})
		return channels.NoReply{}, err
	})
	room.Use(m.Middleware)
	channels.On(room, "ask", func(_ *channels.Context, p params) (params, error) { return p, nil })
	channels.OnPrefix(room, "evt:", func(*channels.Context, string, params) (channels.Reply, error) {
		return channels.Reply{Status: "custom"}, nil
	})
	e.Socket("/socket", channels.SocketOptions{}, room)
	client := channelstest.Connect(t, e, "/socket")
	client.TryJoin("room:1", params{})
	ch := client.Join("room:1", params{"ada"})
	ch.Push("ask", params{}).AssertReply("ok", params{})
	ch.Push("ask", 1).AssertReply("error", nil)
	ch.Push("evt:chosen by the client", params{}).AssertReply("custom", nil)
	text := scrape(t, m)
	for _, want := range []string{
		`mycelium_sockets{transport="websocket",type="app"} 1`,
		`mycelium_channels{type="app"} 1`,
		`mycelium_presence_keys{type="app"} 1`,
		`mycelium_messages_received_total{type="app"} 5`,
		`mycelium_network_reads_total{type="app"} `,
		`mycelium_handler_duration_seconds_count{channel="room:*",event="phx_join",outcome="ok",type="app"} 1`,
		`mycelium_handler_duration_seconds_count{channel="room:*",event="phx_join",outcome="error",type="app"} 1`,
		`mycelium_handler_duration_seconds_count{channel="room:*",event="ask",outcome="ok",type="app"} 1`,
		`mycelium_handler_duration_seconds_count{channel="room:*",event="ask",outcome="error",type="app"} 1`,
		`mycelium_handler_duration_seconds_count{channel="room:*",event="evt:*",outcome="other",type="app"} 1`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing", want)
		}
	}
	for _, not := range []string{"mycelium_ready", "mycelium_instances", "chosen by the client"} {
		if strings.Contains(text, not) {
			t.Errorf("%s is there", not)
		}
	}
	ch.Push("unknown", params{})
	ch.AssertError()
	if want := `event="",outcome="panic",type="app"} 1`; !strings.Contains(scrape(t, m), want) {
		t.Errorf("%s is missing", want)
	}
	if t.Failed() {
		t.Log(text)
	}
}

// TestHistory: what is recorded is shown if the collector has the store.
func TestHistory(t *testing.T) {
	store := history.NewStore(history.Options{Memory: 1 << 20})
	defer store.Close()
	sp, err := store.Space("", []history.Rule{{}})
	if err != nil {
		t.Fatal(err)
	}
	e := channelstest.Start(t, channels.Options{History: sp})
	e.Socket("/socket", channels.SocketOptions{}, channels.Handle("room:*", func(*channels.Context, params) (channels.NoReply, error) {
		return channels.NoReply{}, nil
	}))
	for range 3 {
		if err := e.Broadcast("room:1", "msg", params{"ada"}); err != nil {
			t.Fatal(err)
		}
	}
	ch := channelstest.Connect(t, e, "/socket").Join("room:1", map[string]any{"history": map[string]any{"last": 2}})
	ch.AssertPush("history_mark", nil)
	channelstest.Connect(t, e, "/socket?session=a-session-of-ada")
	text := scrape(t, metrics.New(e.Endpoint, metrics.Options{History: store}))
	for _, want := range []string{
		`mycelium_history_topics{type="app"} 1`, `mycelium_history_messages{type="app"} 3`, `mycelium_history_memory_bytes{type="app"} 1.048576e+06`,
		`mycelium_history_dropped_total{reason="memory",type="app"} 0`, `mycelium_replays_total{type="app"} 1`, `mycelium_replayed_messages_total{type="app"} 2`,
		`mycelium_replays_incomplete_total{reason="expired",type="app"} 0`, `mycelium_history_sessions{state="connected",type="app"} 1`, `mycelium_history_sessions_dropped_total{type="app"} 0`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing", want)
		}
	}
	if text := scrape(t, metrics.New(e.Endpoint, metrics.Options{})); strings.Contains(text, "mycelium_history_") {
		t.Error("a history is shown that is not there")
	}
}

// TestTwoEndpoints: collectors of two endpoints share a registry.
func TestTwoEndpoints(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	for _, name := range []string{"chat", "game"} {
		e := channelstest.Start(t, channels.Options{})
		if err := r.Register(metrics.New(e.Endpoint, metrics.Options{Name: name})); err != nil {
			t.Fatal(err)
		}
	}
	families, err := r.Gather()
	if err != nil {
		t.Error(err)
	}
	for _, f := range families {
		if f.GetName() == "mycelium_connections" && len(f.GetMetric()) == 2 {
			return
		}
	}
	t.Errorf("no mycelium_connections for each of them in %v", families)
}

// scrape reads all metrics as Prometheus does, which checks that they are well-formed.
func scrape(t *testing.T, m *metrics.Collector) string {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	if err := r.Register(m); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}
