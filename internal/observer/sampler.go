package observer

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/instances"
)

const (
	// sampleEvery is the time between two samples.
	sampleEvery = time.Second
	// kept is the number of samples of a series: five minutes.
	kept = 300
)

// Manager is what a Sampler samples; *instances.Manager is one.
type Manager interface {
	Survey() []instances.Glance
}

// Rates are what happened in one second.
type Rates struct {
	MessagesIn  float64 `json:"messages_in"`
	MessagesOut float64 `json:"messages_out"`
	BytesIn     float64 `json:"bytes_in"`
	BytesOut    float64 `json:"bytes_out"`
}

// Row is one instance now.
type Row struct {
	ID     string          `json:"id"`
	Type   string          `json:"type"`
	State  instances.State `json:"state"`
	Reason string          `json:"reason,omitempty"`
	// Node is the node of the cluster that runs it alone. The counts are those of this
	// node, so they are 0 if it is another.
	Node        string `json:"node,omitempty"`
	Declared    bool   `json:"declared,omitempty"`
	Connections int64  `json:"connections"`
	Channels    int64  `json:"channels"`
	Restarts    int64  `json:"restarts"`
	Crashes     int64  `json:"crashes"`
	MailboxHigh int64  `json:"mailbox_high"`
	Rates
}

// Sample is the whole server at one moment.
type Sample struct {
	Time        time.Time               `json:"time"`
	Instances   int                     `json:"instances"`
	States      map[instances.State]int `json:"states"`
	Types       map[string]int          `json:"types"`
	Connections int64                   `json:"connections"`
	Channels    int64                   `json:"channels"`
	Rates
	Process Process `json:"process"`
	// Recorded is what instances have recorded; nil as long as that is nothing.
	Recorded *Recorded `json:"recorded,omitempty"`
	// Cluster is what this node sees of it; nil if it is in none.
	Cluster *Cluster `json:"cluster,omitempty"`
	// Hooks are what back ends decide and are told; nil if no instance has any.
	Hooks *Hooks `json:"hooks,omitempty"`
}

// History is a series of the last minutes, oldest first, one value a second.
type History struct {
	Connections []int64 `json:"connections"`
	Rates       []Rates `json:"rates"`
}

// Sampler keeps the last minutes. Its methods are safe from any goroutine.
type Sampler struct {
	// Static after NewSampler.
	manager Manager
	nodes   Nodes
	history func() history.Stats // nil: nothing is recorded
	now     func() time.Time

	mu     sync.RWMutex
	last   Sample             // guarded by mu
	rows   []Row              // guarded by mu: replaced, never changed; in no order
	all    series             // guarded by mu
	series map[string]*series // guarded by mu: of instances that had clients or traffic
	before map[string]count   // guarded by mu: the counters at the last sample
	at     time.Time          // guarded by mu: the time of the last sample
}

// count holds the counters of an instance.
type count struct{ messagesIn, messagesOut, bytesIn, bytesOut int64 }

// NewSampler returns a sampler. h may be nil; a nil now means time.Now.
func NewSampler(m Manager, nodes Nodes, h func() history.Stats, now func() time.Time) *Sampler {
	if now == nil {
		now = time.Now
	}
	return &Sampler{manager: m, nodes: nodes, history: h, now: now, series: make(map[string]*series)}
}

// Run samples every second until ctx is done, and calls each after every
// sample.
func (s *Sampler) Run(ctx context.Context, each func()) {
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	for {
		s.Sample()
		each()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// Sample samples all instances, and the nodes.
func (s *Sampler) Sample() {
	now := s.now()
	process := readProcess()
	seen := s.manager.Survey()
	rows, counts := make([]Row, len(seen)), make(map[string]count, len(seen))
	recorded := recordedIn(s.history)
	for i := range seen {
		rows[i], counts[seen[i].ID] = look(&seen[i])
		if recorded != nil {
			recorded.Replays += seen[i].Stats.Replays
			recorded.NotRecovered += seen[i].Stats.NotRecovered
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.storeSample(now, rows, counts)
	s.last.Process = process.since(s.last.Process)
	s.last.Cluster, s.last.Recorded = s.nodes.look(), recorded
}

func look(g *instances.Glance) (Row, count) {
	now := &g.Stats
	return Row{
		ID: g.ID, Type: g.Type, State: g.State, Reason: g.Reason, Node: g.Node, Declared: g.Declared,
		Connections: now.Connections, Channels: now.Channels,
		Restarts: now.Restarts, Crashes: now.Crashes + now.ChannelCrashes, MailboxHigh: now.MailboxHigh,
	}, count{now.MessagesIn, now.MessagesOut, now.BytesIn, now.BytesOut}
}

// storeSample stores rows as the last sample; mu is held.
func (s *Sampler) storeSample(now time.Time, rows []Row, counts map[string]count) {
	seconds := now.Sub(s.at).Seconds()
	sample := Sample{Time: now, Instances: len(rows), States: map[instances.State]int{}, Types: map[string]int{}, Process: s.last.Process}
	for i := range rows {
		row := &rows[i]
		if before, ok := s.before[row.ID]; ok && seconds > 0 {
			row.Rates = counts[row.ID].since(before, seconds)
		}
		sample.States[row.State]++
		sample.Types[row.Type]++
		sample.Connections += row.Connections
		sample.Channels += row.Channels
		sample.Rates = sample.plus(row.Rates)
		s.note(row)
	}
	for id := range s.series {
		if _, ok := counts[id]; !ok {
			delete(s.series, id)
		}
	}
	s.all.add(sample.Connections, sample.Rates)
	s.last, s.rows, s.before, s.at = sample, rows, counts, now
}

// note adds a sample to an instance's series, which is created with the first
// client, so that idle instances have none.
func (s *Sampler) note(row *Row) {
	one := s.series[row.ID]
	if one == nil {
		if row.Connections == 0 && row.Rates == (Rates{}) {
			return
		}
		one = new(series)
		s.series[row.ID] = one
	}
	one.add(row.Connections, row.Rates)
}

func (c count) since(before count, seconds float64) Rates {
	rate := func(now, before int64) float64 { return float64(max(0, now-before)) / seconds }
	return Rates{
		MessagesIn: rate(c.messagesIn, before.messagesIn), MessagesOut: rate(c.messagesOut, before.messagesOut),
		BytesIn: rate(c.bytesIn, before.bytesIn), BytesOut: rate(c.bytesOut, before.bytesOut),
	}
}

func (r Rates) plus(o Rates) Rates {
	return Rates{r.MessagesIn + o.MessagesIn, r.MessagesOut + o.MessagesOut, r.BytesIn + o.BytesIn, r.BytesOut + o.BytesOut}
}

// Last returns the last sample.
func (s *Sampler) Last() Sample {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.last
}

// History returns the last minutes of an instance, or of all instances if id is
// empty. It is empty for an instance that has had no clients.
func (s *Sampler) History(id string) History {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if id == "" {
		return s.all.history()
	}
	if one := s.series[id]; one != nil {
		return one.history()
	}
	return History{Connections: []int64{}, Rates: []Rates{}}
}

// View selects rows.
type View struct {
	// Find is a part of the id or the type, or the name of a node; State and Type
	// are exact. Empty fields select everything.
	Find  string          `json:"find"`
	State instances.State `json:"state"`
	Type  string          `json:"type"`
	// Sort is one of id, connections, channels, messages, bytes and restarts;
	// all except id sort the largest first.
	Sort   string `json:"sort"`
	Offset int    `json:"offset"`
	Limit  int    `json:"limit"` // at most 200
}

const maxRows = 200

// Rows returns the rows of a view, and their number without Offset and Limit.
func (s *Sampler) Rows(v View) (rows []Row, total int) {
	s.mu.RLock()
	all := s.rows
	s.mu.RUnlock()
	rows = []Row{}
	for i := range all {
		if v.matches(&all[i]) {
			rows = append(rows, all[i])
		}
	}
	by := orders[v.Sort]
	slices.SortFunc(rows, func(a, b Row) int {
		if by != nil {
			if more := cmp.Compare(by(&b), by(&a)); more != 0 {
				return more
			}
		}
		return strings.Compare(a.ID, b.ID)
	})
	total = len(rows)
	from := min(max(0, v.Offset), total)
	return rows[from:min(total, from+min(max(0, v.Limit), maxRows))], total
}

func (v *View) matches(r *Row) bool {
	return (v.State == "" || v.State == r.State) && (v.Type == "" || v.Type == r.Type) &&
		(v.Find == "" || strings.Contains(r.ID, v.Find) || strings.Contains(r.Type, v.Find) || r.Node == v.Find)
}

// orders are the values of View.Sort except id, by which equal rows are sorted.
var orders = map[string]func(*Row) float64{
	"connections": func(r *Row) float64 { return float64(r.Connections) },
	"channels":    func(r *Row) float64 { return float64(r.Channels) },
	"messages":    func(r *Row) float64 { return r.MessagesIn + r.MessagesOut },
	"bytes":       func(r *Row) float64 { return r.BytesIn + r.BytesOut },
	"restarts":    func(r *Row) float64 { return float64(r.Restarts) },
}
