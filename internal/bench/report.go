package bench

import (
	"runtime"
	"strings"
	"time"
)

// Report is the outcome of a run. Times are in the unit of their names, sizes
// in bytes; what does not belong to a mode is left out.
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

	// Problems say why the run has not gone well; OK is that there are none.
	OK       bool     `json:"ok"`
	Problems []string `json:"problems,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
	// Errors are what happened to connections, with how often.
	Errors map[string]int `json:"errors,omitempty"`
}

// Failed is the report of a run that could not be, for programs.
func Failed(o *Options, err error) *Report {
	return &Report{
		Mode: o.Mode, URLs: o.URLs, Started: time.Now(), Cores: runtime.NumCPU(), Connections: o.Connections, Topics: o.Topics,
		Problems: strings.Split(err.Error(), "\n"),
	}
}

// OpenReport is about connecting and joining, publishers included.
type OpenReport struct {
	Joined    int64    `json:"joined"`
	Failed    int64    `json:"failed"`
	Seconds   float64  `json:"seconds"`
	PerSecond float64  `json:"per_second"`
	Connect   *Latency `json:"connect,omitempty"` // from its beginning to the answer of the handshake
	Join      *Latency `json:"join,omitempty"`    // from phx_join to its reply
}

// RunReport is about publications (broadcast) or requests (echo).
type RunReport struct {
	Seconds float64 `json:"seconds"`
	// Loop is "open", where what is sent does not wait for the server, or
	// "closed", where it does: a slow server is asked less then.
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
	Stray     int64   `json:"stray"` // of another topic or without a mark
	// Copies are what publishers got of their own topic; with echo, broadcasts.
	Copies      int64   `json:"copies"`
	PerSecond   float64 `json:"per_second"`
	BytesPerSec float64 `json:"bytes_per_second"` // received, all frames

	Latency *Latency `json:"latency,omitempty"`
	// LatencyFrom says what latencies are counted from.
	LatencyFrom string `json:"latency_from,omitempty"`
	// Lag is how late the generator itself sent, in an open loop. It is a part
	// of the latency.
	Lag *Latency `json:"lag,omitempty"`

	Heartbeats         int64 `json:"heartbeats,omitempty"`
	HeartbeatsAnswered int64 `json:"heartbeats_answered,omitempty"`
	Ended              int64 `json:"connections_ended"`
}

// PresenceReport is about who is there; sizes are those of payloads' messages.
type PresenceReport struct {
	States     int64 `json:"states"`
	StateBytes int64 `json:"state_bytes"`
	Diffs      int64 `json:"diffs"`
	DiffBytes  int64 `json:"diff_bytes"`
	// Quiet is the time from the first connection to the last of these.
	Quiet float64 `json:"quiet_after_seconds"`
	// Witnesses know at the end who is there; Mistaken of them are wrong.
	Witnesses int64 `json:"witnesses"`
	Mistaken  int64 `json:"mistaken"`
}

// ServerReport is what the server's processes used on this machine.
type ServerReport struct {
	PIDs        []int   `json:"pids"`
	Threads     int64   `json:"threads"`
	CPUPerJoin  float64 `json:"cpu_us_per_join"` // connect and join, publishers included
	CPUSeconds  float64 `json:"cpu_seconds"`     // of the run, as all below
	UserSeconds float64 `json:"user_seconds"`
	SysSeconds  float64 `json:"system_seconds"`
	CPUPercent  float64 `json:"cpu_percent"` // 100 is one core
	// CPUPerUnit is for each delivery (copies included) or answer.
	CPUPerUnit float64 `json:"cpu_us_per_unit,omitempty"`
	Unit       string  `json:"unit,omitempty"`
	RSSBefore  int64   `json:"rss_before"`
	RSSJoined  int64   `json:"rss_joined"`
	RSSEnd     int64   `json:"rss_end"`
	RSSPerConn float64 `json:"rss_per_connection"`
}

// LoadReport is about the generator itself.
type LoadReport struct {
	Processes  int     `json:"processes"`
	CPUSeconds float64 `json:"cpu_seconds"`
	// Busiest is the share of a core that the busiest process used during the
	// run. Near 100 the generator is what is measured.
	Busiest float64 `json:"busiest_percent"`
}
