package bench

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Mode is the kind of load.
type Mode string

// The modes.
const (
	Idle      Mode = "idle"      // connections are joined and held
	Broadcast Mode = "broadcast" // publishers send messages to all other connections
	Echo      Mode = "echo"      // each connection has requests answered
	Join      Mode = "join"      // as many connections as possible connect and join
	Presence  Mode = "presence"  // the same on a topic with presence
)

// Options describe the load and the server. [Parse] makes them from a command
// line.
type Options struct {
	Mode Mode
	URLs []string // as clients write them: ws://host:port/socket, wss://host/socket
	TCP  bool     // the URLs are of ports for raw TCP, with the same schemes

	Connections int // receivers, in Broadcast; publishers are in addition
	Topics      int // connections are spread over them
	Topic       string
	JoinPayload string
	Params      []string // key=value, added to the URL
	Headers     []string // Name: value, added to the handshake
	AuthToken   string
	CA          string        // file of the certificates that sign those of the servers; if empty, the system's
	Insecure    bool          // accept any certificate
	Resume      bool          // resume TLS sessions
	Heartbeat   time.Duration // between two heartbeats of a connection; 0: none

	Event            string // pushed by publishers, or as a request
	BroadcastEvent   string // received for it; empty: Event
	Publishers       int    // of each topic
	PublisherPayload string // of a publisher's join; empty: JoinPayload
	Size             int    // bytes of filler in a payload

	Duration time.Duration // of the run; 0 with Messages
	Messages int           // publications in total; 0: as many as Duration allows
	Rate     float64       // publications or requests per second, all together; 0: closed loop
	Window   int           // closed loop: outstanding publications
	Depth    int           // closed loop: outstanding requests of a connection

	ConnectRate float64       // connections started per second; 0: as Connecting allows
	Connecting  int           // connections of one process that have not joined yet
	Processes   int           // the least number of processes that hold connections
	Sources     []string      // addresses to connect from; if empty, the system chooses
	Patience    time.Duration // without progress for this long the run ends
	Settle      time.Duration // the pause after joining, before memory is measured
	PIDs        []int         // the server's processes on this machine
	Remote      bool          // the server may be on another machine
	JSON        bool          // print the report as JSON
}

// placeholder stands for a number in a topic (the topic's) and in payloads,
// parameters and headers (the connection's).
const placeholder = "{n}"

// heartbeatEvent is the event for heartbeats, which no channel needs to handle.
const heartbeatEvent = "heartbeat"

// Bounds of the numbers, far beyond what a machine can do.
const (
	maxConnections = 10_000_000
	maxSize        = 64 << 20
	// maxStreams bounds the receivers' memory: each keeps 16 bytes for each publisher
	// of its topic.
	maxStreams = 1 << 28
)

// Validate returns everything that is wrong with o, one problem a line.
func (o *Options) Validate() error {
	var wrong []string
	check := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	between := func(flag string, n, least, most int) {
		check(least <= n && n <= most, "--%s is %d; it takes a number from %d to %d", flag, n, least, most)
	}
	between("connections", o.Connections, 1, maxConnections)
	between("topics", o.Topics, 1, maxConnections)
	between("processes", o.Processes, 1, 1024)
	between("connecting", o.Connecting, 1, 65_536)
	check(o.Topics <= o.Connections, "--topics is %d and --connections is %d; each topic needs a connection", o.Topics, o.Connections)
	check(o.Topic != "", "--topic is empty; it takes a topic that the server serves, for example room:bench-%s", placeholder)
	check(o.Topics < 2 || strings.Contains(o.Topic, placeholder),
		"--topic is %q and --topics is %d; put %s where the topic's number belongs, for example --topic=%q", o.Topic, o.Topics, placeholder, o.Topic+"-"+placeholder)
	check(o.ConnectRate >= 0, "--connect-rate is %v; it takes a number above 0, or 0 for no limit", o.ConnectRate)
	check(o.Heartbeat >= 0, "--heartbeat is %v; it takes a duration, or 0 for none", o.Heartbeat)
	check(o.Patience > 0, "--patience is %v; it takes a duration above 0, for example 10s", o.Patience)
	check(o.Settle >= 0, "--settle is %v; it takes a duration, for example 1s", o.Settle)
	check(isObject(o.JoinPayload), "--join-payload is %q; it takes a JSON object, for example {\"user\":\"bench-%s\"}", o.JoinPayload, placeholder)
	o.validateURLs(check)
	o.validateRun(check, between)
	for _, p := range o.Params {
		name, _, found := strings.Cut(p, "=")
		check(found && name != "", "--param is %q; it takes name=value, for example token=secret", p)
		check(name != "vsn", "--param sets vsn; bench speaks only version %s", protocolVersion)
	}
	for _, h := range o.Headers {
		name, _, found := strings.Cut(h, ":")
		check(found && name != "" && !strings.ContainsAny(h, "\r\n"), "--header is %q; it takes \"Name: value\"", h)
	}
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "\n"))
	}
	return nil
}

// validateURLs checks the URLs, and the options that only wss:// URLs use.
func (o *Options) validateURLs(check func(bool, string, ...any)) {
	secure := false
	for _, raw := range o.URLs {
		u, err := parseURL(raw)
		if err != nil {
			check(false, "%v", err)
			continue
		}
		secure = secure || u.Scheme == "wss"
	}
	check(!o.TCP || !slices.ContainsFunc(o.URLs, hasNoPort), "--tcp needs the port of raw TCP in each URL, for example ws://127.0.0.1:4001/socket")
	check(secure || o.CA == "" && !o.Insecure, "--ca and --insecure are for the certificates of wss:// servers, but no URL starts with wss://")
	check(secure || !o.Resume, "--tls-resume is for the sessions of wss:// servers, but no URL starts with wss://")
	check(o.CA == "" || !o.Insecure, "--insecure accepts any certificate, so --ca has no effect; give one of them")
}

// validateRun checks the options that only some modes use.
func (o *Options) validateRun(check func(bool, string, ...any), between func(string, int, int, int)) {
	check(o.Rate >= 0, "--rate is %v; it takes a number above 0, or 0 for a closed loop", o.Rate)
	check(o.Duration >= 0, "--duration is %v; it takes a duration, for example 10s", o.Duration)
	switch o.Mode {
	case Broadcast:
		check(o.Duration > 0 || o.Messages > 0, "--duration is 0; it takes a duration above 0, for example 10s")
		between("messages", o.Messages, 0, 1<<31-1)
		between("publishers", o.Publishers, 1, 10_000)
		between("window", o.Window, 1, 1<<20)
		between("size", o.Size, 0, maxSize)
		check(o.Event != "", "--event is empty; it takes the event that the server broadcasts")
		check(o.PublisherPayload == "" || isObject(o.PublisherPayload), "--publisher-payload is %q; it takes a JSON object, for example {\"self\":false}", o.PublisherPayload)
		check(o.Connections*o.Publishers <= maxStreams, "--connections %d times --publishers %d is too many to keep track of; at most %d are possible", o.Connections, o.Publishers, maxStreams)
	case Echo:
		check(o.Duration > 0, "--duration is 0; it takes a duration above 0, for example 10s")
		between("depth", o.Depth, 1, 10_000)
		between("size", o.Size, 0, maxSize)
		check(o.Event != "", "--event is empty; it takes the event that the server answers, or heartbeat")
	}
}

// isObject reports whether a payload is a JSON object with 0 in place of the
// placeholders. With another number, the server may still reject it.
func isObject(payload string) bool {
	return isJSONObject([]byte(strings.ReplaceAll(payload, placeholder, "0")))
}
