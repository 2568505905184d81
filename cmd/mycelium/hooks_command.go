package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"github.com/mycelium-rt/mycelium/internal/apiclient"
)

const hooksUsage = `mycelium hooks lists the webhooks of an instance, tests them, sends them events again,
and follows events without a webhook. ID is the instance's id; "default" is the
instance at the socket path itself.

Usage:

  mycelium hooks list ID
  mycelium hooks test ID HOOK [--topic T] [--event E] [--payload JSON] [--params JSON] [--claims JSON]
        Sends a test event if the hook receives events, and asks for each kind of
        decision that it makes, about a client that does not exist. Prints the
        requests, the answers, and what would happen to the client.
  mycelium hooks dead ID HOOK
        Prints the events that the back end has refused, one per line.
  mycelium hooks replay ID HOOK --dead
        Sends these events once more.
  mycelium hooks replay ID HOOK --after EVENT-ID
        Sends again all events after this one that are still kept.
  mycelium hooks follow ID [--type T] [--topic PATTERN] [--event PATTERN] [--after EVENT-ID]
        Prints events as they happen, one per line, until it is interrupted.

Flags:

`

// hooksCall is one command line of "mycelium hooks".
type hooksCall struct {
	apiCall

	dead                    bool
	after                   string
	payload, params, claims string
	types, topics, events   []string
}

// hooksVerbs describes each verb and its number of arguments.
var hooksVerbs = map[string]struct {
	args int
	run  func(*hooksCall) error
}{
	"list":   {1, (*hooksCall).list},
	"test":   {2, (*hooksCall).test},
	"dead":   {2, (*hooksCall).listDead},
	"replay": {2, (*hooksCall).replay},
	"follow": {1, (*hooksCall).follow},
}

// manageHooks carries out "mycelium hooks".
func manageHooks(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	c := &hooksCall{apiCall: apiCall{ctx: ctx, stdout: stdout}}
	cmd := verbCommand{name: "hooks", usage: hooksUsage, flags: pflag.NewFlagSet("hooks", pflag.ContinueOnError), choose: c.choose}
	c.addFlags(cmd.flags)
	return c.carryOut(cmd, args, environ, stderr)
}

// addFlags adds the flags of the verbs.
func (c *hooksCall) addFlags(flags *pflag.FlagSet) {
	flags.BoolVar(&c.asJSON, "json", false, "list, test: print the server's answer as JSON")
	flags.BoolVar(&c.dead, "dead", false, "replay: send the events that the back end has refused")
	flags.StringVar(&c.after, "after", "", "replay, follow: begin after the event with this `id`")
	flags.StringArrayVar(&c.types, "type", nil, "follow: only events of this `type`; may be repeated")
	flags.StringArrayVar(&c.topics, "topic", nil, "follow: only topics of this `pattern`; may be repeated. test: the topic to ask about")
	flags.StringArrayVar(&c.events, "event", nil, "follow: only messages with events of this `pattern`; may be repeated. test: the event to ask about")
	flags.StringVar(&c.payload, "payload", "", "test: the payload of the join and of the event, a `JSON` object")
	flags.StringVar(&c.params, "params", "", "test: the params of the client, a `JSON` object")
	flags.StringVar(&c.claims, "claims", "", "test: the claims of the client's token, a `JSON` object")
}

func (c *hooksCall) choose(verb string) (run func() error, err error) {
	what, known := hooksVerbs[verb]
	switch {
	case !known:
		return nil, unknownCommand(verb, slices.Sorted(maps.Keys(hooksVerbs)))
	case len(c.args) != what.args:
		return nil, wrongArguments(hooksUsage, "hooks", verb)
	case verb == "replay" && c.dead == (c.after != ""):
		return nil, errors.New("replay: needs either --dead or --after EVENT-ID")
	}
	return func() error { return what.run(c) }, nil
}

// ask sends a request and decodes the answer.
func (c *hooksCall) ask(r apiclient.Request, into any) error {
	body, err := c.client.Do(c.ctx, r)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("the answer is not as expected: %w", err)
	}
	return nil
}

// hookPath returns the path of what is asked of the hook.
func (c *hooksCall) hookPath(what string) string {
	return apiclient.Instance(c.args[0], "hooks", c.args[1], what)
}

// print writes the server's answer as it is.
func (c *hooksCall) print(r apiclient.Request) error {
	body, err := c.client.Do(c.ctx, r)
	if err != nil {
		return err
	}
	_, err = c.stdout.Write(body)
	return err
}

// shownHook is a hook as the list shows it.
type shownHook struct {
	Name                                        string
	Events, Decides                             []string
	Waiting, Delivered, Refused, Lost, Requests uint64
	LagMS                                       int64  `json:"lag_ms"`
	LastError                                   string `json:"last_error"`
	Decisions                                   *struct {
		Allowed, Refused, Unanswered int64
		InFlight                     int64   `json:"in_flight"`
		P99MS                        float64 `json:"p99_ms"`
		Open                         bool
	}
}

func (c *hooksCall) list() error {
	r := apiclient.Request{Method: http.MethodGet, Path: apiclient.Instance(c.args[0], "hooks")}
	if c.asJSON {
		return c.print(r)
	}
	var answer struct{ Hooks []shownHook }
	if err := c.ask(r, &answer); err != nil {
		return err
	}
	deciding := slices.DeleteFunc(slices.Clone(answer.Hooks), func(h shownHook) bool { return h.Decisions == nil })
	told := slices.DeleteFunc(answer.Hooks, func(h shownHook) bool { return len(h.Events) == 0 })
	table := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	if len(told) > 0 || len(deciding) == 0 {
		fmt.Fprintln(table, "HOOK\tDELIVERED\tWAITING\tLAG\tREFUSED\tLOST\tEVENTS\tLAST ERROR")
	}
	for _, h := range told {
		lag := (time.Duration(h.LagMS) * time.Millisecond).Round(time.Second)
		fmt.Fprintf(table, "%s\t%d\t%d\t%s\t%d\t%d\t%s\t%s\n", h.Name, h.Delivered, h.Waiting, lag, h.Refused, h.Lost, strings.Join(h.Events, ","), h.LastError)
	}
	if err := table.Flush(); err != nil || len(deciding) == 0 {
		return err
	}
	fmt.Fprintln(table, "HOOK\tALLOWED\tREFUSED\tUNANSWERED\tP99\tIN FLIGHT\tBACK END\tDECIDES")
	for _, h := range deciding {
		d, state := h.Decisions, "answers"
		if d.Open {
			state = "away"
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%.0f ms\t%d\t%s\t%s\n", h.Name, d.Allowed, d.Refused, d.Unanswered, d.P99MS, d.InFlight, state, strings.Join(h.Decides, ","))
	}
	return table.Flush()
}

// errTest is returned when a back end does not do what it should in a test.
type errTest string

func (e errTest) Error() string { return "the back end failed the test: " + string(e) }

func (c *hooksCall) test() error {
	query := url.Values{}
	for name, value := range map[string]string{
		"topic": lastOf(c.topics), "event": lastOf(c.events), "payload": c.payload, "params": c.params, "claims": c.claims,
	} {
		if value != "" {
			query.Set(name, value)
		}
	}
	r := apiclient.Request{Method: http.MethodPost, Path: c.hookPath("test"), Query: query}
	if c.asJSON {
		return c.print(r)
	}
	var answer struct {
		OK        bool
		TookMS    int64 `json:"took_ms"`
		Error     string
		Decisions []shownTrial
	}
	if err := c.ask(r, &answer); err != nil {
		return err
	}
	for _, t := range answer.Decisions {
		t.print(c.stdout)
	}
	if !answer.OK {
		return errTest(answer.Error)
	}
	fmt.Fprintf(c.stdout, "the back end passed the test in %d ms\n", answer.TookMS)
	return nil
}

func lastOf(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

// shownTrial is a decision of a test.
type shownTrial struct {
	Type                  string
	Request               json.RawMessage
	Status                int
	Answer, Effect, Error string
	TookMS                int64 `json:"took_ms"`
}

func (t *shownTrial) print(to io.Writer) {
	fmt.Fprintf(to, "%s\n  sent      %s\n", t.Type, t.Request)
	if t.Status != 0 {
		fmt.Fprintf(to, "  answered  %d, in %d ms: %s\n", t.Status, t.TookMS, strings.TrimSpace(t.Answer))
	}
	if t.Error != "" {
		fmt.Fprintf(to, "  error     %s\n", t.Error)
	}
	fmt.Fprintf(to, "  effect    %s\n", t.Effect)
}

func (c *hooksCall) listDead() error {
	var answer struct {
		DeadLetters []json.RawMessage `json:"dead_letters"`
	}
	if err := c.ask(apiclient.Request{Method: http.MethodGet, Path: c.hookPath("dead"), Query: url.Values{"limit": {"1000"}}}, &answer); err != nil {
		return err
	}
	for _, l := range answer.DeadLetters {
		fmt.Fprintf(c.stdout, "%s\n", l)
	}
	return nil
}

func (c *hooksCall) replay() error {
	body := map[string]any{"dead": true}
	if c.after != "" {
		body = map[string]any{"after": c.after}
	}
	var answer struct{ Delivered, Refused int }
	if err := c.ask(apiclient.Request{Method: http.MethodPost, Path: c.hookPath("replay"), Body: body}, &answer); err != nil {
		return err
	}
	if c.after != "" {
		fmt.Fprintln(c.stdout, "the events are being sent again")
		return nil
	}
	fmt.Fprintln(c.stdout, strconv.Itoa(answer.Delivered)+" delivered, "+strconv.Itoa(answer.Refused)+" refused again")
	return nil
}

func (c *hooksCall) follow() error {
	query := url.Values{"type": c.types, "topic": c.topics, "event": c.events}
	for name, values := range query {
		if len(values) == 0 {
			query.Del(name)
		}
	}
	if c.after != "" {
		query.Set("after", c.after)
	}
	return c.client.Follow(c.ctx, c.args[0], query, func(event json.RawMessage) error {
		_, err := fmt.Fprintf(c.stdout, "%s\n", event)
		return err
	})
}
