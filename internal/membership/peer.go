package membership

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/mycelium-rt/mycelium/cluster"
)

// State is the state of a node as seen by another.
type State string

// The states.
const (
	// Up: it is heard, and all its earlier entries are here.
	Up State = "up"
	// Syncing: it is heard, but some of its earlier entries have yet to arrive.
	Syncing State = "syncing"
	// Silent: nothing has come from it for six seconds.
	Silent State = "silent"
	// Left: it has said goodbye.
	Left State = "left"
	// Incompatible: it writes a version that this node cannot read.
	Incompatible State = "incompatible"
)

// States lists all states.
var States = []State{Up, Syncing, Silent, Left, Incompatible}

// Facts are what a node tells the others about itself with each heartbeat.
type Facts struct {
	Version string `json:"version"`
	Sockets int64  `json:"sockets"`
	// Draining: it has been told to stop, and closes its sockets.
	Draining bool `json:"draining,omitempty"`
	// Time is the time of its clock, in milliseconds since 1970.
	Time int64 `json:"time,omitempty"`
	// Resent counts the entries that it has sent again because some node had not received
	// them.
	Resent uint64 `json:"resent,omitempty"`
	// Forward is where it takes clients that other nodes forward, HOST:PORT; empty if
	// it does not.
	Forward string `json:"forward,omitempty"`
}

// Encode returns the facts for cluster.Options.Info.
func (f Facts) Encode() []byte {
	text, err := json.Marshal(f)
	if err != nil {
		panic(err) // strings and numbers can always be encoded
	}
	return text
}

// Peer is another node.
type Peer struct {
	Log     cluster.LogID
	Name    string
	Address string
	State   State
	Facts   Facts
	// Since is when it was first seen in this state.
	Since time.Time
	// Silent is how long nothing has come from it.
	Silent time.Duration
	// Applied is the number of its last entry that is here, Rate how many came per second
	// since the previous view.
	Applied uint64
	Rate    float64
	// Behind counts its known entries that are not here yet, Lost those that were lost.
	// Held is the size, in bytes, of those that wait behind a missing one.
	Behind, Lost uint64
	Held         int
	// Ahead is how far its clock is ahead of this node's; 0 if it does not report its time.
	Ahead time.Duration

	aheads []time.Duration // by the last heartbeats
}

// heartbeats is how many heartbeats a clock is judged by. A slow heartbeat makes the clock
// look behind, so the largest difference is the best estimate.
const heartbeats = 8

// ClockTolerance is how much clocks may differ before a warning is logged.
const ClockTolerance = 2 * time.Second

// Draining counts the nodes that are closing their sockets, among those that are heard.
func Draining(peers []cluster.PeerInfo) (n int) {
	for i := range peers {
		var f Facts
		if p := &peers[i]; !p.Left && p.Silent < cluster.DownAfter && json.Unmarshal(p.Info, &f) == nil && f.Draining {
			n++
		}
	}
	return n
}

// PeersOf returns the peers of a sample, by name. Since and Rate are not set.
func PeersOf(infos []cluster.PeerInfo, now time.Time) []Peer {
	peers := make([]Peer, len(infos))
	for i, p := range infos {
		peers[i] = Peer{
			Log: p.Log, Name: p.Name, Address: p.Address, State: stateOf(&p), Silent: p.Silent, Applied: p.Applied, Behind: p.Behind, Lost: p.Lost, Held: p.Held,
		}
		json.Unmarshal(p.Info, &peers[i].Facts) //nolint:errcheck // a node of another version may send something else
		if sent := peers[i].Facts.Time; sent != 0 {
			peers[i].Ahead = time.UnixMilli(sent).Sub(now.Add(-p.Told)).Round(time.Millisecond)
			peers[i].aheads = []time.Duration{peers[i].Ahead}
		}
	}
	slices.SortFunc(peers, func(a, b Peer) int { return strings.Compare(a.Name, b.Name) })
	return peers
}

func stateOf(p *cluster.PeerInfo) State {
	switch {
	case p.Left:
		return Left
	case p.Silent >= cluster.DownAfter:
		return Silent
	case p.Incompatible:
		return Incompatible
	case p.Up:
		return Up
	}
	return Syncing
}

// compare fills in what follows from the previous view, which may be nil.
func (v *View) compare(before *View) {
	for i := range v.Peers {
		v.Peers[i].Since = v.At
	}
	if before == nil {
		return
	}
	seconds := v.At.Sub(before.At).Seconds()
	v.Rate = rate(before.Stats.Sent, v.Stats.Sent, seconds)
	for i := range v.Peers {
		p := &v.Peers[i]
		was := before.Peer(p.Log)
		if was == nil {
			continue
		}
		if was.State == p.State {
			p.Since = was.Since
		}
		p.readClock(was)
		// While it is syncing, earlier entries arrive in a snapshot, which is not a rate.
		if was.State == Up && p.State == Up {
			p.Rate = rate(was.Applied, p.Applied, seconds)
		}
	}
}

// readClock judges the clock by the latest heartbeats.
func (p *Peer) readClock(was *Peer) {
	switch {
	case len(p.aheads) == 0:
		return
	case p.Facts.Time == was.Facts.Time:
		p.aheads = was.aheads
	default:
		p.aheads = append(slices.Clone(was.aheads[max(0, len(was.aheads)-heartbeats+1):]), p.Ahead)
	}
	p.Ahead = slices.Max(p.aheads)
}

func rate(before, now uint64, seconds float64) float64 {
	if seconds <= 0 || now < before {
		return 0
	}
	return float64(now-before) / seconds
}

// Peer returns the peer with a log, nil if there is none.
func (v *View) Peer(log cluster.LogID) *Peer {
	if i := slices.IndexFunc(v.Peers, func(p Peer) bool { return p.Log == log }); i >= 0 {
		return &v.Peers[i]
	}
	return nil
}

// logChanges logs what has changed since the last view.
func (w *Watcher) logChanges(v *View) {
	var before View
	if w.before != nil {
		before = *w.before
	}
	for i := range v.Peers {
		p := &v.Peers[i]
		w.tellPeer(cmp.Or(before.Peer(p.Log), new(Peer)), p)
	}
	if w.before == nil {
		return
	}
	switch {
	case before.Link.Connected && !v.Link.Connected:
		w.log.Warn("NATS cannot be reached: what is published waits for it").Write()
	case !before.Link.Connected && v.Link.Connected:
		w.log.Info("NATS is reached again").Write()
	}
	if was, is := before.trouble(), v.trouble(); was == "" && is != "" {
		w.log.Warn("the store of instances cannot be reached: instances with a single owner stop, and none can be created").Str("reason", is).Write()
	} else if was != "" && is == "" {
		w.log.Info("the store of instances is reached").Write()
	}
	if n := v.Stats.Busy - before.Stats.Busy; n > 0 {
		w.log.Warn("broadcasts did not reach the other nodes: too much waits for them").Int("broadcasts", int(n)).Write()
	}
}

func (v *View) trouble() string {
	if v.Store == nil {
		return ""
	}
	return v.Store.Trouble
}

func (w *Watcher) tellPeer(was, p *Peer) {
	if p.State != was.State {
		switch p.State {
		case Up:
			w.log.Info("node is up").Str("node", p.Name).Str("address", p.Address).Write()
		case Left:
			w.log.Info("node has left").Str("node", p.Name).Write()
		case Silent:
			w.log.Warn("node is silent").Str("node", p.Name).Str("address", p.Address).Write()
		case Incompatible:
			w.log.Warn("node writes a version that this one cannot read").Str("node", p.Name).Str("version", p.Facts.Version).Write()
		}
	}
	if p.Ahead.Abs() > ClockTolerance && was.Ahead.Abs() <= ClockTolerance {
		w.log.Warn("the clock of a node differs from this one's").Str("node", p.Name).Str("ahead", p.Ahead.String()).Write()
	}
	if n := p.Lost - was.Lost; n > 0 {
		w.log.Warn("messages of a node were lost").Str("node", p.Name).Int("messages", int(n)).Write()
	}
}
