//go:build linux

package main

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
	"time"
)

// result is the outcome of one scenario with one tool.
type result struct {
	Tool     string    `json:"tool"`
	Scenario string    `json:"scenario"`
	Started  time.Time `json:"started"`
	Load     string    `json:"load_average"` // of the machine, before

	Users     int   `json:"users"`               // planned
	Arrived   int64 `json:"arrived"`             // users that started, as the tool counts them
	Finished  int64 `json:"finished"`            // users that went through the whole scenario
	Answered  int64 `json:"answered"`            // messages of users that were answered, as the tool counts them
	Delivered int64 `json:"delivered,omitempty"` // deliveries, if the tool can count them
	ToolRead  int64 `json:"tool_read,omitempty"` // bytes or messages of every kind that the tool has read
	Received  int64 `json:"server_received"`     // messages that the server received
	Sent      int64 `json:"server_sent"`         // messages that the server sent
	SentBytes int64 `json:"server_sent_bytes"`   // bytes that the server wrote to WebSockets

	Latencies []latency        `json:"latencies"`
	Errors    map[string]int64 `json:"errors,omitempty"`

	// Means over the seconds in which nearly all users were connected and chatting:
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"sent_per_second"`
	Server    float64 `json:"server_cpu"` // cores used
	ToolCPU   float64 `json:"tool_cpu"`
	Others    float64 `json:"others_cpu"` // by all other programs on the machine
	// Of the whole run:
	ToolPeak  float64 `json:"tool_cpu_peak"` // in any one second
	ServerRSS float64 `json:"server_rss"`    // bytes, the most
	ToolRSS   float64 `json:"tool_rss"`

	Problems []string `json:"problems,omitempty"`

	samples []sample
	series  []moment // latencies over time
}

// latency is a distribution, in milliseconds.
type latency struct {
	What  string  `json:"what"`
	Count int64   `json:"count"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	Most  float64 `json:"max"`
}

// moment is what a tool reports about latencies at one time: named values in milliseconds.
type moment struct {
	at     float64 // seconds since the tool was started
	values map[string]float64
}

func (r *result) problem(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

// latencyOf returns the distribution of what, or nil.
func (r *result) latencyOf(what string) *latency {
	for i := range r.Latencies {
		if r.Latencies[i].What == what {
			return &r.Latencies[i]
		}
	}
	return nil
}

// distribution returns the latency of measured values, which it sorts.
func distribution(what string, ms []float64) latency {
	sort.Float64s(ms)
	at := func(share float64) float64 { return ms[max(0, int(math.Ceil(share*float64(len(ms))))-1)] }
	return latency{what, int64(len(ms)), rounded(at(.5)), rounded(at(.9)), rounded(at(.99)), rounded(ms[len(ms)-1])}
}

// rounded keeps two digits after the point.
func rounded(v float64) float64 { return math.Round(v*100) / 100 }

// trouble lists counters of the server that stay 0 when all is well.
var trouble = []string{
	"mycelium_rate_limited_total", "mycelium_mailbox_full_total", "mycelium_broadcasts_refused_total", "mycelium_loop_overloads_total",
	"mycelium_handshakes_refused_total", "mycelium_socket_bytes_refused_total", "mycelium_channel_crashes_total", "mycelium_instance_crashes_total",
	`mycelium_frames_dropped_total{reason="oldest"}`, `mycelium_frames_dropped_total{reason="newest"}`, "mycelium_longpoll_dropped_total",
	`mycelium_connections_closed_total{reason="slow"}`, `mycelium_connections_closed_total{reason="gone"}`, "mycelium_connections_lost_total",
}

// takeServer adds what the server has counted during the run.
func (r *result) takeServer(c counters) {
	r.Received, r.Sent = int64(c["mycelium_messages_received_total"]), int64(c["mycelium_messages_sent_total"])
	r.SentBytes = int64(c["mycelium_network_sent_bytes_total"])
	for _, name := range trouble {
		if v := c[name]; v != 0 {
			r.problem("the server counted %s: %.0f", name, v)
		}
	}
	if v := c["mycelium_sockets"]; v > 0 && r.Scenario != "polls" { // the server notices later that a long poll has ended
		r.problem("%.0f sockets are still connected", v)
	}
}

// takeSamples computes the means over the seconds in which nearly all users were connected
// and chatting. Before and after that they wait for each other, in each tool differently.
func (r *result) takeSamples(all []sample) {
	r.samples = all
	var users, out float64
	for _, s := range all {
		users = max(users, s.users)
		r.ToolPeak, r.ServerRSS, r.ToolRSS = max(r.ToolPeak, s.tool), max(r.ServerRSS, s.serverRSS), max(r.ToolRSS, s.toolRSS)
	}
	here := func(s sample) bool { return users > 0 && s.users >= 0.9*users }
	for _, s := range all {
		if here(s) {
			out = max(out, s.out)
		}
	}
	for _, s := range all {
		if !here(s) || s.out < out/4 {
			continue
		}
		r.Seconds++
		r.PerSecond, r.Server, r.ToolCPU, r.Others = r.PerSecond+s.out, r.Server+s.server, r.ToolCPU+s.tool, r.Others+s.other
	}
	if n := r.Seconds; n > 0 {
		for _, v := range []*float64{&r.PerSecond, &r.Server, &r.ToolCPU, &r.Others} {
			*v = rounded(*v/n*10) / 10 // a thousandth
		}
	}
	r.ToolPeak = rounded(r.ToolPeak)
}

// judge adds the problems: what failed or was lost.
func (r *result) judge(c *scenario, p plan) {
	for _, name := range sortedKeys(r.Errors) {
		r.problem("%s: %d", name, r.Errors[name])
	}
	if r.Tool == "bench" {
		return // mycelium bench reports problems itself
	}
	users := p.Users
	if r.Tool == "tsung" && c.name == "day" {
		users = 3*p.Users + p.Owls // the users who reconnect are new users
	}
	if r.Arrived != int64(users) || r.Finished != int64(users) {
		r.problem("%d users started and %d finished the scenario, want %d of each", r.Arrived, r.Finished, users)
	}
	r.compareRead(p)
	if c.name == "day" {
		return // users who are disconnected send and receive less
	}
	if want := int64(p.Speakers * p.Messages); p.Messages > 0 && r.Answered != want {
		r.problem("%d messages were answered, want %d", r.Answered, want)
	}
	if c.deliveries == nil {
		return
	}
	want := int64(c.deliveries(p))
	if r.Delivered > 0 && r.Delivered != want {
		r.problem("%d deliveries arrived, want %d", r.Delivered, want)
	}
	if r.Sent < want+r.Answered+r.Arrived {
		r.problem("the server sent %d messages, want at least %d deliveries and replies", r.Sent, want+r.Answered+r.Arrived)
	}
}

// compareRead compares what the tool has read with what the server has sent.
func (r *result) compareRead(p plan) {
	if r.Scenario == "presence" || r.Scenario == "day" {
		return // users who leave do not wait for the messages of others
	}
	sent, unit := r.Sent, "messages"
	late := int64(p.Users) // the reply to a heartbeat may be on its way when the user disconnects
	if r.Tool == "tsung" {
		if r.Scenario == "instances" || r.Scenario == "polls" {
			return // the server counts the bytes of WebSockets only
		}
		// The server's close frame of 4 bytes may wait behind another message.
		sent, unit, late = r.SentBytes, "bytes", 4*int64(p.Users)
	}
	if missing := sent - r.ToolRead; missing < 0 || missing > late {
		r.problem("%s read %d %s, but the server sent %d", r.Tool, r.ToolRead, unit, sent)
	}
}

// line returns the result as a line for the terminal.
func (r *result) line() string {
	verdict := "ok"
	if len(r.Problems) > 0 {
		verdict = "FAILED"
	}
	text := fmt.Sprintf("%5d users %8.0f sent/s  CPU: server %.2f, %s %.2f, others %.2f  %5.1f MB", r.Users, r.PerSecond, r.Server, r.Tool, r.ToolCPU, r.Others, r.ServerRSS/1e6)
	for _, l := range r.Latencies {
		text += fmt.Sprintf("  %s p50 %.1f p99 %.1f ms", l.What, l.P50, l.P99)
	}
	return text + "  " + verdict
}

// summary returns the problems in one line.
func (r *result) summary() string {
	return fmt.Sprintf("%s by %s: %s", r.Scenario, r.Tool, strings.Join(r.Problems, "; "))
}

func sortedKeys(m map[string]int64) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
