package bench

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/mycelium-rt/mycelium/internal/nearest"
)

// ErrHelp is returned by [Parse] when the arguments ask for help; the caller
// prints [Help].
var ErrHelp = pflag.ErrHelp

// command is a mode of the command line.
type command struct {
	mode     Mode
	summary  string
	examples []string
	flags    func(*pflag.FlagSet, *Options)
}

var commands = []command{
	{
		mode: Idle, summary: "hold joined connections: what they cost in memory and CPU",
		examples: []string{"mycelium bench idle ws://127.0.0.1:4000/socket -c 10000 --pid $(pidof mycelium)"},
		flags:    idleFlags,
	},
	{
		mode: Broadcast, summary: "broadcast messages to all connections: latency, loss and order",
		examples: []string{
			"mycelium bench broadcast ws://127.0.0.1:4000/socket -c 10000             # as fast as they are delivered",
			"mycelium bench broadcast ws://127.0.0.1:4000/socket -c 10000 --window 16 # with a backlog of 16 publications",
			"mycelium bench broadcast ws://127.0.0.1:4000/socket -c 1000 --rate 40    # 40 a second, whatever the server does",
			"mycelium bench broadcast ws://127.0.0.1:4000/socket -c 5000 --topics 100 --publishers 2 --rate 500",
			"mycelium bench broadcast ws://127.0.0.1:4001/socket --event shout        # a Phoenix whose channel broadcasts shout",
			"mycelium bench broadcast ws://127.0.0.1:4001/socket -c 10000 --tcp       # over raw TCP, to the port of --tcp-listen",
		},
		flags: broadcastFlags,
	},
	{
		mode: Echo, summary: "send requests: heartbeats, or an event that a channel replies to",
		examples: []string{
			"mycelium bench echo ws://127.0.0.1:4000/socket -c 1000                     # heartbeats, which every server answers",
			"mycelium bench echo ws://127.0.0.1:4000/socket -c 1000 --rate 20000        # open loop",
			"mycelium bench echo ws://127.0.0.1:4001/socket --event echo --topic echo:x # an event that a channel replies to",
			`mycelium bench echo ws://127.0.0.1:4000/socket -c 500 --topics 500 --event ping --join-payload '{"self":false}' # a relay: a topic each`,
		},
		flags: echoFlags,
	},
	{
		mode: Join, summary: "connect and join as fast as possible",
		examples: []string{
			"mycelium bench join ws://127.0.0.1:4000/socket -c 10000 --pid $(pidof mycelium)",
			"mycelium bench join ws://127.0.0.1:4000/socket -c 10000 --connect-rate 500",
		},
	},
	{
		mode: Presence, summary: "the same on a topic with presence: count and check states and diffs",
		examples: []string{"mycelium bench presence ws://127.0.0.1:4000/socket -c 2000"},
		flags:    presenceFlags,
	},
}

func defaults(mode Mode) *Options {
	return &Options{
		Mode: mode, Connections: 1000, Topics: 1, Topic: "room:bench-" + placeholder, JoinPayload: "{}",
		Heartbeat: 30 * time.Second, Publishers: 1, Window: 1, Depth: 1, Size: 64,
		Connecting: 256, Processes: 1, Patience: 10 * time.Second, Settle: time.Second,
	}
}

// commonFlags adds the flags of all modes.
func commonFlags(f *pflag.FlagSet, o *Options) {
	f.IntVarP(&o.Connections, "connections", "c", o.Connections, "connections to hold")
	f.IntVar(&o.Topics, "topics", o.Topics, "topics that they are spread over")
	f.StringVar(&o.Topic, "topic", o.Topic, "topic to join; {n} is its number, from 0")
	f.StringVar(&o.JoinPayload, "join-payload", o.JoinPayload, "JSON object to join with; {n} is the connection's number")
	f.StringArrayVar(&o.Params, "param", nil, "name=value for the URL, such as token=secret; repeatable, {n} is the connection's number")
	f.StringArrayVar(&o.Headers, "header", nil, "\"Name: value\" for the handshake; repeatable, {n} is the connection's number")
	f.StringVar(&o.AuthToken, "auth-token", "", "token for the subprotocol, as phoenix.js sends its authToken")
	f.StringVar(&o.CA, "ca", "", "PEM file with the certificates of wss:// servers or of their authorities; default: the system's")
	f.BoolVar(&o.Insecure, "insecure", false, "accept any certificate of wss:// servers")
	f.BoolVar(&o.Resume, "tls-resume", false, "resume TLS sessions, as clients that come back do: only the first connections have full handshakes")
	f.BoolVar(&o.TCP, "tcp", false, "speak raw TCP to the URLs' ports, which are those of tcp_listen; wss:// is over TLS")
	f.DurationVar(&o.Heartbeat, "heartbeat", o.Heartbeat, "time between two heartbeats of a connection; 0: none")
	f.Float64Var(&o.ConnectRate, "connect-rate", 0, "connections started per second; 0: as many as --connecting allows")
	f.IntVar(&o.Connecting, "connecting", o.Connecting, "connections of one process that may be connecting or joining at a time")
	f.IntVar(&o.Processes, "processes", o.Processes, "processes that hold connections; more are started if the limit on open files requires it")
	f.StringSliceVar(&o.Sources, "source", nil, "addresses to connect from; on loopback, more are used automatically if ports run out")
	f.DurationVar(&o.Patience, "patience", o.Patience, "give up after this time without any progress")
	f.DurationVar(&o.Settle, "settle", o.Settle, "rest after joining, before memory is measured")
	f.IntSliceVar(&o.PIDs, "pid", nil, "the server's processes on this machine: their CPU and memory are reported")
	f.BoolVar(&o.Remote, "remote", false, "allow a server on another machine, which you may put under load")
	f.BoolVar(&o.JSON, "json", false, "print the report as JSON")
}

func idleFlags(f *pflag.FlagSet, o *Options) {
	f.DurationVar(&o.Duration, "duration", 30*time.Second, "how long to hold them")
}

func broadcastFlags(f *pflag.FlagSet, o *Options) {
	f.DurationVar(&o.Duration, "duration", 10*time.Second, "how long to publish")
	f.IntVar(&o.Messages, "messages", 0, "publish this many in total, however long it takes")
	f.Float64Var(&o.Rate, "rate", 0, "publications per second of all publishers together (open loop); 0: closed loop")
	f.IntVar(&o.Window, "window", o.Window, "closed loop: publications that may be outstanding at a time")
	f.IntVar(&o.Publishers, "publishers", o.Publishers, "publishers of each topic, on connections of their own")
	f.StringVar(&o.Event, "event", "bench", "event that publishers push")
	f.StringVar(&o.BroadcastEvent, "broadcast-event", "", "event that receivers get for it; default: the same")
	f.StringVar(&o.PublisherPayload, "publisher-payload", "", "JSON object that publishers join with; default: as --join-payload")
	f.IntVar(&o.Size, "size", o.Size, "bytes of filler in a payload, in addition to about 60 bytes that identify it")
}

func echoFlags(f *pflag.FlagSet, o *Options) {
	f.DurationVar(&o.Duration, "duration", 10*time.Second, "how long to send requests")
	f.Float64Var(&o.Rate, "rate", 0, "requests per second of all connections together (open loop); 0: closed loop")
	f.IntVar(&o.Depth, "depth", o.Depth, "closed loop: requests of a connection that may be outstanding at a time")
	f.StringVar(&o.Event, "event", heartbeatEvent, "event that the server replies to; heartbeat: the protocol's heartbeats")
	f.IntVar(&o.Size, "size", o.Size, "bytes of filler in a request's payload")
}

func presenceFlags(f *pflag.FlagSet, o *Options) {
	o.JoinPayload = `{"user":"bench-` + placeholder + `"}`
	f.Lookup("join-payload").DefValue = o.JoinPayload
}

// Parse parses the arguments after "bench". Its errors say what would be right.
func Parse(args []string) (*Options, error) {
	if len(args) == 0 || isHelp(args[0]) {
		return nil, ErrHelp
	}
	c, err := findCommand(args[0])
	if err != nil {
		return nil, err
	}
	o := defaults(c.mode)
	set := c.set(o)
	if err := set.Parse(args[1:]); err != nil {
		return nil, explain(err, c.mode, set)
	}
	o.URLs = set.Args()
	if len(o.URLs) == 0 {
		return nil, errors.New("missing URL of the socket, for example ws://127.0.0.1:4000/socket")
	}
	if o.Messages > 0 && !set.Changed("duration") {
		o.Duration = 0
	}
	return o, o.Validate()
}

func isHelp(arg string) bool { return slices.Contains([]string{"help", "--help", "-h"}, arg) }

func findCommand(name string) (*command, error) {
	var names []string
	for i := range commands {
		if string(commands[i].mode) == name {
			return &commands[i], nil
		}
		names = append(names, string(commands[i].mode))
	}
	if near := nearest.Of(name, names); near != "" {
		return nil, fmt.Errorf("unknown mode %q; did you mean %s?", name, near)
	}
	return nil, fmt.Errorf("unknown mode %q; the modes are %s, and the mode comes first: mycelium bench %s URL", name, strings.Join(names, ", "), names[0])
}

func (c *command) set(o *Options) *pflag.FlagSet {
	set := pflag.NewFlagSet("", pflag.ContinueOnError)
	set.SortFlags = false
	set.Usage = func() {}
	commonFlags(set, o)
	if c.flags != nil {
		c.flags(set, o)
	}
	return set
}

// explain returns an error of pflag in our own words.
func explain(err error, mode Mode, set *pflag.FlagSet) error {
	var unknown *pflag.NotExistError
	var noValue *pflag.ValueRequiredError
	var bad *pflag.InvalidValueError
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return ErrHelp
	case errors.As(err, &noValue):
		return fmt.Errorf("flag --%s has no value; mycelium bench %s --help lists the flags", noValue.GetFlag().Name, mode)
	case errors.As(err, &bad):
		return fmt.Errorf("--%s is %q; it takes %s", bad.GetFlag().Name, bad.GetValue(), takes[bad.GetFlag().Value.Type()])
	case errors.As(err, &unknown):
		var names []string
		set.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near := nearest.Of(unknown.GetSpecifiedName(), names); near != "" {
			return fmt.Errorf("unknown flag --%s; did you mean --%s?", unknown.GetSpecifiedName(), near)
		}
		return fmt.Errorf("unknown flag --%s; mycelium bench %s --help lists the flags", unknown.GetSpecifiedName(), mode)
	}
	return fmt.Errorf("%w; mycelium bench %s --help lists the flags", err, mode)
}

// takes describes the values of each type of flag.
var takes = map[string]string{
	"int":      "a whole number, for example 1000",
	"float64":  "a number, for example 2.5",
	"duration": "a duration with its unit, for example 500ms, 10s or 2m",
	"intSlice": "numbers separated by commas, for example 4711",
	"bool":     "true or false",
}

// Help returns the help text of a mode, or of all modes if args name none.
func Help(args []string) string {
	var b strings.Builder
	for _, arg := range args {
		if c, err := findCommand(arg); err == nil {
			fmt.Fprintf(&b, "mycelium bench %s URL… [flags]: %s\n\nExamples:\n\n", c.mode, c.summary)
			for _, example := range c.examples {
				fmt.Fprintf(&b, "  %s\n", example)
			}
			fmt.Fprintf(&b, "\nFlags:\n\n%s", c.set(defaults(c.mode)).FlagUsages())
			return b.String()
		}
	}
	b.WriteString("mycelium bench puts a server of Phoenix Channels under load and reports what that\ncosts.\n\nUsage:\n\n")
	for _, c := range commands {
		fmt.Fprintf(&b, "  mycelium bench %-10s URL… [flags]   %s\n", c.mode, c.summary)
	}
	b.WriteString("\nURL is the socket's URL as given to clients, such as ws://127.0.0.1:4000/socket or\n" +
		"wss://example.com/socket. With several URLs, connections go to them in turn.\n\nExamples:\n\n")
	for _, c := range commands {
		fmt.Fprintf(&b, "  %s\n", c.examples[0])
	}
	b.WriteString("\n\"mycelium bench broadcast --help\" lists the flags of a mode.\n\n" +
		"The exit code is 0 if all went well, 1 if messages were lost or out of order,\n" +
		"connections failed or limits of this machine are too small, and 2 if the command line\nis wrong.\n")
	return b.String()
}
