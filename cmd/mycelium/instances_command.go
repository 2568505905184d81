package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/mycelium-rt/mycelium/internal/apiclient"
)

const instancesUsage = `mycelium instances manages the instances of a running server over its HTTP API.

Usage:

  mycelium instances list [--type T] [--state S] [--label K:V]
  mycelium instances types
  mycelium instances create [ID] --type T [--config JSON] [--label K:V] [--idle-ttl 5m]
  mycelium instances create --file spec.yaml
  mycelium instances get ID
  mycelium instances patch ID JSON [--revision N]
  mycelium instances delete ID [--revision N]
  mycelium instances drain ID
  mycelium instances resume ID
  mycelium instances stats ID
  mycelium instances topics ID
  mycelium instances users ID
  mycelium instances totals ID
  mycelium instances sockets ID [TARGET]
  mycelium instances presence ID TOPIC
  mycelium instances history ID TOPIC [--last N | --after NEXT]
  mycelium instances forget ID TOPIC [--message MESSAGE | --before TIME]
  mycelium instances broadcast ID TOPIC EVENT [PAYLOAD]
  mycelium instances broadcasts ID --file messages.json
  mycelium instances push ID TOPIC EVENT [PAYLOAD] TARGET
  mycelium instances leave ID TOPIC TARGET
  mycelium instances subscribe ID TOPIC TARGET
  mycelium instances unsubscribe ID TOPIC TARGET
  mycelium instances disconnect ID TARGET [--no-reconnect]
  mycelium instances revoke ID --jti JTI | --user USER [--before TIME] [--until TIME]
  mycelium instances revocations ID
  mycelium instances signal ID NAME [DATA]

TARGET is --user USER, --socket-id ID or --socket SOCKET: the sockets of a user, those
with an id, or one, as "sockets" names it.

Flags:

`

// instancesCall is one command line of "mycelium instances".
type instancesCall struct {
	apiCall

	flags *pflag.FlagSet

	kind, state, config     string
	labels                  []string
	idleTTL, file, revision string
	last, after             string // of history
	message, before         string // of forget
	user, socketID, socket  string // TARGET
	noReconnect             bool   // of disconnect
	jti, until              string // of revoke
	once                    string // the Idempotency-Key
}

// instancesVerbs describes each verb and its number of arguments.
var instancesVerbs = map[string]struct {
	least, most int
	run         func(*instancesCall) error
}{
	"list":   {0, 0, (*instancesCall).list},
	"types":  {0, 0, (*instancesCall).types},
	"create": {0, 1, (*instancesCall).create},
	"get":    {1, 1, func(c *instancesCall) error { return c.show(http.MethodGet, apiclient.Instance(c.args[0]), nil) }},
	"patch":  {2, 2, (*instancesCall).patch},
	"delete": {1, 1, (*instancesCall).remove},
	"drain": {1, 1, func(c *instancesCall) error {
		return c.show(http.MethodPost, apiclient.Instance(c.args[0], "drain"), nil)
	}},
	"resume": {1, 1, func(c *instancesCall) error {
		return c.show(http.MethodPost, apiclient.Instance(c.args[0], "resume"), nil)
	}},
	"stats": {1, 1, func(c *instancesCall) error {
		return c.show(http.MethodGet, apiclient.Instance(c.args[0], "stats"), nil)
	}},
	"topics": {1, 1, func(c *instancesCall) error {
		return c.show(http.MethodGet, apiclient.Instance(c.args[0], "topics"), nil)
	}},
	"sockets": {1, 1, (*instancesCall).sockets},
	"users":   {1, 1, (*instancesCall).users},
	"totals": {1, 1, func(c *instancesCall) error {
		return c.show(http.MethodGet, apiclient.Instance(c.args[0], "totals"), nil)
	}},
	"presence":    {2, 2, (*instancesCall).presence},
	"history":     {2, 2, (*instancesCall).history},
	"forget":      {2, 2, (*instancesCall).forget},
	"broadcast":   {3, 4, (*instancesCall).broadcast},
	"broadcasts":  {1, 1, (*instancesCall).broadcasts},
	"push":        {3, 4, (*instancesCall).push},
	"revoke":      {1, 1, (*instancesCall).revoke},
	"revocations": {1, 1, (*instancesCall).revocations},
	"leave":       {2, 2, func(c *instancesCall) error { return c.toAudience("leave") }},
	"subscribe":   {2, 2, func(c *instancesCall) error { return c.toAudience("subscribe") }},
	"unsubscribe": {2, 2, func(c *instancesCall) error { return c.toAudience("unsubscribe") }},
	"disconnect":  {1, 2, (*instancesCall).disconnect},
	"signal":      {2, 3, (*instancesCall).signal},
}

// manageInstances carries out "mycelium instances".
func manageInstances(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	c := &instancesCall{apiCall: apiCall{ctx: ctx, stdout: stdout}}
	c.flags = pflag.NewFlagSet("instances", pflag.ContinueOnError)
	cmd := verbCommand{name: "instances", usage: instancesUsage, flags: c.flags, choose: c.choose}
	c.addFlags(cmd.flags)
	return c.carryOut(cmd, args, environ, stderr)
}

func (c *instancesCall) choose(verb string) (run func() error, err error) {
	what, known := instancesVerbs[verb]
	switch {
	case !known:
		return nil, unknownCommand(verb, slices.Sorted(maps.Keys(instancesVerbs)))
	case len(c.args) < what.least || len(c.args) > what.most:
		return nil, wrongArguments(instancesUsage, "instances", verb)
	}
	if err := c.checkFlags(verb); err != nil {
		return nil, err
	}
	return func() error { return what.run(c) }, nil
}

// flagsOfAll are the flags that every verb takes.
var flagsOfAll = []string{"--server", "--key", "--json", "--idempotency-key"}

// checkFlags refuses flags that the usage of a verb does not have, rather than to ignore them: "forget" would delete
// everything although something was to be left.
func (c *instancesCall) checkFlags(verb string) (err error) {
	takes := slices.Clone(flagsOfAll)
	for line := range strings.Lines(instancesUsage) {
		if words := strings.Fields(line); len(words) > 2 && words[0] == "mycelium" && words[2] == verb {
			takes = append(takes, strings.Fields(strings.NewReplacer("[", " ", "]", " ", "TARGET", "--user --socket-id --socket").Replace(line))...)
		}
	}
	c.flags.Visit(func(f *pflag.Flag) {
		if err == nil && !slices.Contains(takes, "--"+f.Name) {
			err = fmt.Errorf("%s does not take --%s; usage: %s", verb, f.Name, usageOf(instancesUsage, "instances", verb))
		}
	})
	return err
}

// addFlags adds the flags of the verbs.
func (c *instancesCall) addFlags(flags *pflag.FlagSet) {
	flags.BoolVar(&c.asJSON, "json", false, "print the server's answer")
	flags.StringVar(&c.kind, "type", "", "`type` of the instance")
	flags.StringVar(&c.state, "state", "", "only instances in this `state`")
	flags.StringVar(&c.config, "config", "", "`JSON` of the configuration")
	flags.StringArrayVar(&c.labels, "label", nil, "`key:value`; may be repeated")
	flags.StringVar(&c.idleTTL, "idle-ttl", "", "remove the instance after this `duration` without clients")
	flags.StringVar(&c.file, "file", "", "YAML or JSON `file` of the whole spec; - for standard input")
	flags.StringVar(&c.revision, "revision", "", "change only this `revision`; default: any")
	flags.StringVar(&c.last, "last", "", "history: only the last so many messages, a `number`")
	flags.StringVar(&c.after, "after", "", "the `next` of the page before")
	flags.StringVar(&c.message, "message", "", "forget: only the message with this `id`")
	flags.StringVar(&c.before, "before", "", "forget: only messages from before this `time`, like 2030-01-31T12:00:00Z; revoke: only tokens that were issued before it, default: now")
	flags.StringVar(&c.user, "user", "", "the sockets of this `user`: the sub of their tokens")
	flags.StringVar(&c.socketID, "socket-id", "", "the sockets with this `id`")
	flags.StringVar(&c.socket, "socket", "", "one `socket`, as \"sockets\" names it")
	flags.BoolVar(&c.noReconnect, "no-reconnect", false, "disconnect: clients do not connect again by themselves")
	flags.StringVar(&c.jti, "jti", "", "revoke: the token with this `jti`")
	flags.StringVar(&c.until, "until", "", "revoke: the `time` when the tokens have expired; default: in 30 days")
	flags.StringVar(&c.once, "idempotency-key", "", "a `key` that you choose: the same call with it again does nothing, and prints what the first did")
}

// do carries out a call and prints the answer, which people read too.
func (c *instancesCall) do(r apiclient.Request) error {
	body, err := c.client.Do(c.ctx, r)
	if err != nil || len(body) == 0 {
		return err
	}
	if c.asJSON {
		_, err = c.stdout.Write(body)
		return err
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, bytes.TrimSpace(body), "", "  "); err != nil {
		return fmt.Errorf("the answer is not JSON: %w", err)
	}
	_, err = fmt.Fprintln(c.stdout, indented.String())
	return err
}

func (c *instancesCall) show(method, path string, query url.Values) error {
	return c.do(apiclient.Request{Method: method, Path: path, Query: query})
}

func (c *instancesCall) list() error {
	query := url.Values{}
	for name, value := range map[string]string{"type": c.kind, "state": c.state} {
		if value != "" {
			query.Set(name, value)
		}
	}
	query["label"] = c.labels
	var list []listed
	err := c.client.List(c.ctx, query, func(raw json.RawMessage) error {
		if c.asJSON {
			_, err := fmt.Fprintf(c.stdout, "%s\n", raw)
			return err
		}
		var i listed
		if err := json.Unmarshal(raw, &i); err != nil {
			return fmt.Errorf("the answer is not as expected: %w", err)
		}
		list = append(list, i)
		return nil
	})
	if c.asJSON || err != nil && len(list) == 0 {
		return err // without the header of a table
	}
	return errors.Join(err, printList(c.stdout, list))
}

// listed is an instance in a list.
type listed struct {
	ID, Type, State, Reason, Node string
	Revision                      uint64
	Created                       time.Time
}

// printList prints a table, with nodes if one of the instances is on one.
func printList(w io.Writer, list []listed) error {
	nodes := slices.ContainsFunc(list, func(i listed) bool { return i.Node != "" })
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(id, kind, state, node, revision, created, reason string) {
		if nodes {
			state += "\t" + node
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", id, kind, state, revision, created, reason)
	}
	line("ID", "TYPE", "STATE", "NODE", "REVISION", "CREATED", "REASON")
	for _, i := range list {
		if i.Node == "" && i.State == "running" {
			i.Node = "all"
		}
		line(i.ID, i.Type, i.State, i.Node, strconv.FormatUint(i.Revision, 10), i.Created.Local().Format(time.DateTime), i.Reason)
	}
	return table.Flush()
}

func (c *instancesCall) types() error {
	if c.asJSON {
		return c.show(http.MethodGet, "/types", nil)
	}
	body, err := c.client.Do(c.ctx, apiclient.Request{Method: http.MethodGet, Path: "/types"})
	if err != nil {
		return err
	}
	var answer struct {
		Types []struct{ Name, About string }
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("the answer is not as expected: %w", err)
	}
	table := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	for _, t := range answer.Types {
		fmt.Fprintf(table, "%s\t%s\n", t.Name, t.About)
	}
	return table.Flush()
}

func (c *instancesCall) create() error {
	spec, err := c.spec()
	if err != nil {
		return err
	}
	return c.do(apiclient.Request{Method: http.MethodPost, Path: "/instances", Body: spec})
}

// spec returns the spec in the file, overridden by flags.
func (c *instancesCall) spec() (map[string]any, error) {
	spec := map[string]any{}
	if c.file != "" {
		text, err := readFile(c.file)
		if err != nil {
			return nil, err
		}
		if err := yaml.Unmarshal(text, &spec); err != nil { // JSON is YAML
			return nil, fmt.Errorf("%s: %w", c.file, err)
		}
		if spec == nil {
			return nil, fmt.Errorf("%s has no spec", c.file)
		}
	}
	if len(c.args) > 0 {
		spec["id"] = c.args[0]
	}
	for name, value := range map[string]string{"type": c.kind, "idle_ttl": c.idleTTL} {
		if value != "" {
			spec[name] = value
		}
	}
	if c.config != "" {
		config, err := jsonArgument("--config", c.config)
		if err != nil {
			return nil, err
		}
		spec["config"] = config
	}
	if len(c.labels) > 0 {
		labels := map[string]string{}
		for _, l := range c.labels {
			name, value, ok := strings.Cut(l, ":")
			if !ok {
				return nil, fmt.Errorf("--label %q: write it like team:red", l)
			}
			labels[name] = value
		}
		spec["labels"] = labels
	}
	return spec, nil
}

func readFile(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(os.Stdin)
	}
	return os.ReadFile(name)
}

// jsonArgument returns JSON from the command line. It is checked before a
// request is sent.
func jsonArgument(what, text string) (json.RawMessage, error) {
	if !json.Valid([]byte(text)) {
		return nil, fmt.Errorf("%s is not valid JSON: %s", what, text)
	}
	return json.RawMessage(text), nil
}

func (c *instancesCall) patch() error {
	change, err := jsonArgument("the change", c.args[1])
	if err != nil {
		return err
	}
	return c.do(apiclient.Request{
		Method: http.MethodPatch, Path: apiclient.Instance(c.args[0]), Body: change, IfMatch: cmp.Or(c.revision, "*"),
	})
}

func (c *instancesCall) remove() error {
	return c.do(apiclient.Request{Method: http.MethodDelete, Path: apiclient.Instance(c.args[0]), IfMatch: c.revision})
}

func (c *instancesCall) presence() error {
	return c.show(http.MethodGet, apiclient.Instance(c.args[0], "presence"), url.Values{"topic": {c.args[1]}})
}

func (c *instancesCall) history() error {
	return c.show(http.MethodGet, apiclient.Instance(c.args[0], "topics", c.args[1], "history"), queryOf("last", c.last, "after", c.after))
}

func (c *instancesCall) forget() error {
	query := make(url.Values)
	for _, name := range []string{"message", "before"} {
		if f := c.flags.Lookup(name); f.Changed { // an empty one is refused: it does not mean all messages
			query.Set(name, f.Value.String())
		}
	}
	return c.show(http.MethodDelete, apiclient.Instance(c.args[0], "topics", c.args[1], "history"), query)
}

// queryOf returns a query of the values that are not empty.
func queryOf(namesAndValues ...string) url.Values {
	query := make(url.Values)
	for i := 0; i < len(namesAndValues); i += 2 {
		if value := namesAndValues[i+1]; value != "" {
			query.Set(namesAndValues[i], value)
		}
	}
	return query
}
