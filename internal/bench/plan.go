package bench

import (
	"net/netip"
	"time"
)

// plan is what a worker needs to know: the options with all names resolved.
type plan struct {
	Mode     Mode
	Targets  []target
	TCP      bool         // raw TCP, not WebSockets
	CA       []byte       // certificates, in PEM, that sign those of the servers; if empty, the system's
	Insecure bool         // certificates are not verified
	Resume   bool         // TLS sessions are resumed
	Sources  []netip.Addr // connections are spread over them; if empty, the system chooses
	Topics   int
	Topic    string
	JoinWith string

	Event, BroadcastEvent string
	Publishers            int // on each topic
	PublisherJoinWith     string
	Size                  int

	Duration    time.Duration
	Messages    int
	Rate        float64
	Window      int
	Depth       int
	Heartbeat   time.Duration
	ConnectRate float64
	Connecting  int

	All     int // connections of all workers of the same kind
	Workers []share
}

// share is the part of the connections that one worker holds.
type share struct {
	First, Count int
	Publishing   bool
}

// publishers is the number of publishing connections.
func (p *plan) publishers() int {
	if p.Mode != Broadcast {
		return 0
	}
	return p.Topics * p.Publishers
}

// source returns where connection number n comes from; an invalid address leaves it to the
// system. Connections go to the targets in turn, so each target's come from all sources.
func (p *plan) source(n int) netip.Addr {
	if len(p.Sources) == 0 {
		return netip.Addr{}
	}
	return p.Sources[n/len(p.Targets)%len(p.Sources)]
}

// rateOf returns a worker's share of a rate for all connections.
func (p *plan) rateOf(rate float64, count int) float64 {
	return rate * float64(count) / float64(p.All)
}

// newPlan spreads the connections over workers of at most most connections each.
// Publishers have a worker of their own, so that receiving does not delay them.
func newPlan(o *Options, targets []target, sources []netip.Addr, most int) *plan {
	p := &plan{
		Mode: o.Mode, Targets: targets, TCP: o.TCP, Insecure: o.Insecure, Resume: o.Resume, Sources: sources, Topics: o.Topics, Topic: o.Topic, JoinWith: o.JoinPayload,
		Event: o.Event, BroadcastEvent: orElse(o.BroadcastEvent, o.Event), Publishers: o.Publishers,
		PublisherJoinWith: orElse(o.PublisherPayload, o.JoinPayload), Size: o.Size,
		Duration: o.Duration, Messages: o.Messages, Rate: o.Rate, Window: o.Window, Depth: o.Depth,
		Heartbeat: o.Heartbeat, ConnectRate: o.ConnectRate, Connecting: o.Connecting, All: o.Connections,
	}
	workers := max(o.Processes, (o.Connections+most-1)/most)
	workers = min(workers, o.Connections)
	for k := range workers {
		first, end := o.Connections*k/workers, o.Connections*(k+1)/workers
		p.Workers = append(p.Workers, share{First: first, Count: end - first})
	}
	if n := p.publishers(); n > 0 {
		p.Workers = append(p.Workers, share{First: o.Connections, Count: n, Publishing: true})
	}
	return p
}
