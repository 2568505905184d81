package bench

import (
	"runtime"
	"strings"
	"time"
)

// Report is the outcome of a run. Fields name the unit of their times; sizes are
// in bytes. Fields that do not apply to a mode are left out.
type Report struct {
	Mode        Mode      `json:"mode"`
	URLs        []string  `json:"urls"`
	Started     time.Time `json:"started"`
	Cores       int       `json:"cores"`
	Kernel      string    `json:"kernel"`
	Connections int       `json:"connections"`
	Topics      int       `json:"topics"`

	Open     OpenReport      `json:"open"`
	Run      *RunReport      `json:"run,omitempty"`
	Presence *PresenceReport `json:"presence,omitempty"`
	Server   *ServerReport   `json:"server,omitempty"`
	Load     LoadReport      `json:"generator"`

	// Problems say what went wrong. OK reports that there are none.
	OK       bool     `json:"ok"`
	Problems []string `json:"problems,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
	// Errors counts the errors of connections by message.
	Errors map[string]int `json:"errors,omitempty"`
}

// Failed returns the report of a run that could not start.
func Failed(o *Options, err error) *Report {
	return &Report{
		Mode: o.Mode, URLs: o.URLs, Started: time.Now(), Cores: runtime.NumCPU(), Connections: o.Connections, Topics: o.Topics,
		Problems: strings.Split(err.Error(), "\n"),
	}
}

// OpenReport describes connecting and joining, publishers included.
type OpenReport struct {
	Joined    int64    `json:"joined"`
	Failed    int64    `json:"failed"`
	Seconds   float64  `json:"seconds"`
	PerSecond float64  `json:"per_second"`
	Connect   *Latency `json:"connect,omitempty"` // from connect(2) to the answer to the handshake
	Join      *Latency `json:"join,omitempty"`    // from phx_join to its reply
}

// RunReport describes publications (broadcast) or requests (echo).
type RunReport struct {
	Seconds float64 `json:"seconds"`
	// Loop is "open" if sending does not wait for the server, or "closed" if it
	// does. In a closed loop a slow server gets less load.
	Loop      string  `json:"loop"`
	Rate      float64 `json:"rate,omitempty"`
	Window    int     `json:"window,omitempty"`
	Depth     int     `json:"depth,omitempty"`
	Size      int     `json:"size"`
	Sent      int64   `json:"sent"`     // publications or requests
	Expected  int64   `json:"expected"` // deliveries or answers
	Delivered int64   `json:"delivered"`
	Lost      int64   `json:"lost"`
	Late      int64   `json:"out_of_order"`
	Twice     int64   `json:"twice"`
	Stray     int64   `json:"stray"` // on a wrong topic or without a mark
	// Copies counts what publishers received on their own topics; with echo,
	// broadcasts.
	Copies      int64   `json:"copies"`
	PerSecond   float64 `json:"per_second"`
	BytesPerSec float64 `json:"bytes_per_second"` // received, all frames

	Latency *Latency `json:"latency,omitempty"`
	// LatencyFrom says from when latencies are counted.
	LatencyFrom string `json:"latency_from,omitempty"`
	// Lag is how late the generator itself sent, in an open loop. The latency
	// includes it.
	Lag *Latency `json:"lag,omitempty"`

	Heartbeats         int64 `json:"heartbeats,omitempty"`
	HeartbeatsAnswered int64 `json:"heartbeats_answered,omitempty"`
	Ended              int64 `json:"connections_ended"`
}

// PresenceReport describes the lists of presences and their diffs. Sizes are those
// of whole messages.
type PresenceReport struct {
	States     int64 `json:"states"`
	StateBytes int64 `json:"state_bytes"`
	Diffs      int64 `json:"diffs"`
	DiffBytes  int64 `json:"diff_bytes"`
	// Quiet is the time from the first connection to the last list or diff.
	Quiet float64 `json:"quiet_after_seconds"`
	// Witnesses is how many connections were checked at the end; Mistaken of them
	// did not see as many presences as there were connections.
	Witnesses int64 `json:"witnesses"`
	Mistaken  int64 `json:"mistaken"`
}

// ServerReport describes what the server's processes on this machine used.
type ServerReport struct {
	PIDs        []int   `json:"pids"`
	Threads     int64   `json:"threads"`
	CPUPerJoin  float64 `json:"cpu_us_per_join"` // connect and join, publishers included
	CPUSeconds  float64 `json:"cpu_seconds"`     // of the run, as is everything below
	UserSeconds float64 `json:"user_seconds"`
	SysSeconds  float64 `json:"system_seconds"`
	CPUPercent  float64 `json:"cpu_percent"` // 100 is one core
	// CPUPerUnit is the cost of a delivery (copies included) or of an answer.
	CPUPerUnit float64 `json:"cpu_us_per_unit,omitempty"`
	Unit       string  `json:"unit,omitempty"`
	RSSBefore  int64   `json:"rss_before"`
	RSSJoined  int64   `json:"rss_joined"`
	RSSEnd     int64   `json:"rss_end"`
	RSSPerConn float64 `json:"rss_per_connection"`
}

// LoadReport describes the generator itself.
type LoadReport struct {
	Processes  int     `json:"processes"`
	CPUSeconds float64 `json:"cpu_seconds"`
	// Busiest is the share of a core that the busiest process used during the run.
	// Near 100, the run measures the generator.
	Busiest float64 `json:"busiest_percent"`
}
