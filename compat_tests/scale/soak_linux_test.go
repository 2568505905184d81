package scale

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/race"
)

// soakEnv is the variable for how long TestScaleSoak lasts. make soak sets it.
const soakEnv = "SOAK"

const (
	// soakRate is how many clients connect a second. In ten minutes these are 60,000, as
	// many as in an hour of a server with a thousand clients that stay for a minute each.
	soakRate = 100
	// soakSample is how often the server's usage is sampled.
	soakSample = time.Second
	// soakShort is the length below which only the end of a soak is checked, because the
	// server's usage has no time to settle.
	soakShort = 25 * time.Second
	// soakIdle is the server's timeout for silent clients. The others may be silent for as long
	// as a busy machine stops them.
	soakIdle = 8 * time.Second
)

// TestScaleSoak runs clients that connect, join, chat and leave in every way: politely,
// abruptly, not at all, by long polling, with garbage, and without reading. Memory,
// descriptors and goroutines of the server must stay where they were after the first fifth
// of the time, and nothing may be left at the end.
func TestScaleSoak(t *testing.T) {
	d := soakTime(t)
	server := startServer(t, settings{IdleTimeout: soakIdle, LongPoll: 5 * time.Second, OutboundBytes: 64 << 10, Quiet: true})
	before := server.usage()
	s := &soak{t: t, addr: server.addr, counts: make([]atomic.Int64, len(manners)), polls: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 50}, Timeout: patience}}
	defer s.polls.CloseIdleConnections()

	var samples []usage
	end := time.Now().Add(d)
	arrivals := time.NewTicker(time.Second / soakRate)
	defer arrivals.Stop()
	sampling := time.NewTicker(soakSample)
	defer sampling.Stop()
	for i := uint64(1); time.Now().Before(end); {
		select {
		case <-arrivals.C:
			g := &guest{soak: s, r: rand.New(rand.NewPCG(i, 7)), name: fmt.Sprintf("g%d", i)}
			s.present.Go(g.live)
			i++
		case <-sampling.C:
			samples = append(samples, server.usage())
		}
	}
	s.present.Wait()
	s.polls.CloseIdleConnections()
	after := server.await("all clients to be gone", func(u usage) bool {
		return u.Stats.Sockets == 0 && u.Stats.Channels == 0 && u.Stats.LongPoll.Sessions == 0 && u.Descriptors <= before.Descriptors &&
			u.Goroutines <= before.Goroutines+2
	})
	server.terminate()
	server.awaitExit()
	s.report(before, after, samples)
}

// soakTime returns how long to soak.
func soakTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv(soakEnv)
	if text == "" {
		if race.Enabled || testing.Short() {
			return 2 * time.Second
		}
		return 4 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		t.Fatalf("%s=%s: not a duration such as 30s or 10m", soakEnv, text)
	}
	return d
}

// soak has what the guests share.
type soak struct {
	t       *testing.T
	addr    string
	polls   *http.Client
	present sync.WaitGroup
	counts  []atomic.Int64 // guests by manner
	wrong   atomic.Int64
}

// fail records an error that a guest found. The first few are shown.
func (s *soak) fail(g *guest, err error) {
	if s.wrong.Add(1) <= 5 {
		s.t.Errorf("%s (%s): %v", g.name, g.manner.name, err)
	}
}

// report checks the samples for trends and logs a summary.
func (s *soak) report(before, after usage, samples []usage) {
	t := s.t
	guests := int64(0)
	for i := range s.counts {
		n := s.counts[i].Load()
		guests += n
		t.Logf("%-12s %d", manners[i].name, n)
	}
	t.Logf("%d clients, %d messages, %d writes, %.1f MB sent, %d too slow, %d long-poll sessions expired", guests,
		after.Stats.MessagesIn, after.Stats.Network.Writes, float64(after.Stats.Network.BytesOut)/1e6, after.Stats.Network.ClosedSlow,
		after.Stats.LongPoll.Expired)
	t.Logf("live heap before %d, after %d bytes", before.Heap, after.Heap)
	// The bound is for the pools and maps of a busy server. A leak with each client would be
	// much more.
	if grown := after.Heap - before.Heap; grown > 8<<20 {
		t.Errorf("the live heap has grown from %d to %d bytes", before.Heap, after.Heap)
	}
	long := time.Duration(len(samples))*soakSample >= soakShort
	samples = samples[len(samples)/5:]
	for _, m := range soakMeasures {
		values := make([]float64, len(samples))
		for i, u := range samples {
			values[i] = m.of(u)
		}
		level, growth := trend(values)
		t.Logf("%-12s %.0f, trend %+.0f over %d samples", m.name, level, growth, len(values))
		if allowed := level/10 + m.slack; long && growth > allowed {
			t.Errorf("%s: growth of %.0f at a level of %.0f, want at most %.0f: %.0f", m.name, growth, level, allowed, values)
		}
	}
}

// soakMeasures must not grow by more than a tenth plus slack, which allows for the clients
// that happen to be there.
var soakMeasures = []struct {
	name  string
	of    func(usage) float64
	slack float64
}{
	{"live heap", func(u usage) float64 { return float64(u.Heap) }, 1 << 20},
	{"RSS", func(u usage) float64 { return float64(u.Resident) }, 8 << 20},
	{"descriptors", func(u usage) float64 { return float64(u.Descriptors) }, 10},
	{"goroutines", func(u usage) float64 { return float64(u.Goroutines) }, 10},
}
