package httpapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/mycelium-rt/mycelium/hooks"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/internal/events"
)

// HookInfo is a hook of an instance: how far it is with the events that it is told of, and
// what it has decided. The figures are those of the node that answers, since its start.
type HookInfo struct {
	// Name is the hook's name.
	Name string `json:"name"`
	// Events are the types of events that it is told of.
	Events []string `json:"events"`
	// Decides are the kinds of decisions that it makes.
	Decides []string `json:"decides"`
	// Decisions are the figures of these; a hook that decides nothing has none.
	Decisions *HookDecisions `json:"decisions,omitempty"`
	// Waiting is how many events are behind the last one that it has taken, including those
	// that it does not ask for.
	Waiting uint64 `json:"waiting"`
	// LagMS is the age in milliseconds of the oldest event that waits for an answer; 0: none does.
	LagMS int64 `json:"lag_ms"`
	// Delivered counts events that it has taken since the server's start, Refused those
	// that became dead letters, and Lost those that were dropped because the outbox was full.
	Delivered uint64 `json:"delivered"`
	Refused   uint64 `json:"refused"`
	Lost      uint64 `json:"lost"`
	// Requests counts requests, and Failed those that it has not answered with 2xx.
	Requests uint64 `json:"requests"`
	Failed   uint64 `json:"failed"`
	// DeadLetters is how many there are.
	DeadLetters int `json:"dead_letters"`
	// LastError is why the last request has failed; it is left out after a success.
	LastError string `json:"last_error,omitempty"`
}

// HookDecisions are the figures of the decisions of a hook.
type HookDecisions struct {
	// Requests counts requests, with those that were repeated, and Retries those.
	Requests int64 `json:"requests"`
	Retries  int64 `json:"retries"`
	// Allowed and Refused count what the back end has decided, Unanswered what it has not.
	Allowed    int64 `json:"allowed"`
	Refused    int64 `json:"refused"`
	Unanswered int64 `json:"unanswered"`
	// Busy counts decisions that were not asked for because too many waited, and Away those
	// because the back end was away.
	Busy int64 `json:"busy"`
	Away int64 `json:"away"`
	// InFlight and Waiting are the requests that are sent now, and the decisions that wait
	// for their turn.
	InFlight int64 `json:"in_flight"`
	Waiting  int64 `json:"waiting"`
	// Open reports whether the back end is considered away now.
	Open bool `json:"open"`
	// P99MS is the time that 99 of 100 decisions have not exceeded, in milliseconds.
	P99MS float64 `json:"p99_ms"`
}

// HookTest is the outcome of a test.
type HookTest struct {
	// OK reports whether the back end has taken the test event, if it is told of events, and
	// has answered each test decision, if it decides: whether it allows it or not.
	OK bool `json:"ok"`
	// TookMS is how long all of that took, in milliseconds.
	TookMS int64 `json:"took_ms"`
	// Error is why it has not.
	Error string `json:"error,omitempty"`
	// Decisions are the decisions that it was asked for, one of each kind.
	Decisions []HookTrial `json:"decisions,omitempty"`
}

// HookTrial is a decision that a back end was asked for to try it out.
type HookTrial struct {
	// Type is the kind of the decision.
	Type string `json:"type" jsonschema:"enum=connect,enum=join,enum=event,enum=refresh,enum=access"`
	// OK reports whether the answer is one.
	OK bool `json:"ok"`
	// Request is what was sent.
	Request json.RawMessage `json:"request" jsonschema:"type=object"`
	// Status is that of the answer; it is left out if there was none.
	Status int `json:"status,omitempty"`
	// Answer is its body, or the beginning of it.
	Answer string `json:"answer,omitempty"`
	// TookMS is how long the answer took, in milliseconds.
	TookMS int64 `json:"took_ms"`
	// Effect says what would become of a client.
	Effect string `json:"effect"`
	// Error is what is wrong with the answer.
	Error string `json:"error,omitempty"`
}

// operationsOfHooks are about hooks. hook is the path of one.
func (a *API) operationsOfHooks(hook string) []operation {
	return []operation{{
		method: "GET", path: "/api/instances/{id}/hooks", scope: Read, handle: a.hooks,
		id: "listHooks", summary: "The hooks of an instance, how far they are with events, and what they have decided",
		answers: []answerDoc{{status: 200, about: "The hooks.", schema: object("hooks", listOf("HookInfo"))}},
	}, {
		method: "POST", path: hook + "/test", scope: Admin, handle: a.testHook,
		id: "testHook", summary: "Try a hook out", about: "A hook that is told of events is sent one of the type test, at once, whatever waits. One that decides is asked for a decision of each kind, about a " +
			"client that does not exist; its requests have test: true, and nothing is done of what it answers.",
		query: []parameter{
			{name: "topic", about: "The topic of the decisions; by default one that suits the hook.", schema: text(`,"minLength":1,"maxLength":255`)},
			{name: "event", about: "The event that is decided; likewise.", schema: text(`,"minLength":1,"maxLength":255`)},
			{name: "payload", about: "The payload of the join and the event, a JSON object.", schema: text("")},
			{name: "params", about: "The params with which the client connects, a JSON object.", schema: text("")},
			{name: "claims", about: "The claims of its token, a JSON object; by default it has none.", schema: text("")},
		},
		answers: []answerDoc{{status: 200, about: "What came of it.", schema: ref("schemas", "HookTest")}},
	}}
}

// deciderOf returns what decides about an instance on this node, nil if nothing does.
func (a *API) deciderOf(id string) *hooks.Decider {
	if a.options.Deciders == nil {
		return nil
	}
	return a.options.Deciders(id)
}

// seesHooks returns an error if the instance does not exist, or another node runs it.
func (a *API) seesHooks(r *request) error {
	if _, err := a.manager.Life(r.id); err != nil && !errors.Is(err, instances.ErrNotRunning) {
		return err
	}
	return nil
}

func (a *API) hooks(w http.ResponseWriter, r *request) error {
	if err := a.seesHooks(r); err != nil {
		return err
	}
	list := []HookInfo{}
	if a.events != nil {
		for _, h := range a.events.StatsOf(r.id).Hooks {
			list = append(list, HookInfo{
				Name: h.Hook, Events: h.Events, Decides: []string{}, Waiting: h.Waiting, LagMS: h.Lag.Milliseconds(), Delivered: h.Delivered, Refused: h.Refused, Lost: h.Lost,
				Requests: h.Requests, Failed: h.Failed, DeadLetters: h.DeadLetters, LastError: h.LastError,
			})
		}
	}
	if d := a.deciderOf(r.id); d != nil {
		for _, h := range d.Stats() {
			list = withDecisions(list, &h)
		}
	}
	return answer(w, http.StatusOK, map[string]any{"hooks": list})
}

// withDecisions adds the decisions of a hook to a list in which it may be because of events.
func withDecisions(list []HookInfo, h *hooks.HookStats) []HookInfo {
	if len(h.Kinds) == 0 {
		return list
	}
	at := len(list)
	for i := range list {
		if list[i].Name == h.Hook {
			at = i
		}
	}
	if at == len(list) {
		list = append(list, HookInfo{Name: h.Hook, Events: []string{}, Decides: []string{}})
	}
	info, sum := &list[at], h.Sum()
	for i := range h.Kinds {
		info.Decides = append(info.Decides, h.Kinds[i].Kind)
	}
	info.Decisions = &HookDecisions{
		Requests: h.Requests, Retries: h.Retries, Allowed: sum.Allowed, Refused: sum.Refused, Unanswered: sum.Unanswered,
		Busy: h.Busy, Away: h.Away, InFlight: h.InFlight, Waiting: h.Waiting, Open: h.Open, P99MS: milliseconds(sum.Quantile(0.99)),
	}
	return list
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (a *API) testHook(w http.ResponseWriter, r *request) error {
	if err := a.seesHooks(r); err != nil {
		return err
	}
	sample, err := sampleOf(r)
	if err != nil {
		return err
	}
	began := time.Now()
	told, decided := events.ErrNoHook, hooks.ErrNoHook
	if a.events != nil {
		_, told = a.events.TestHook(r.Context(), r.id, r.hook)
	}
	var trials []hooks.Trial
	if d := a.deciderOf(r.id); d != nil {
		trials, decided = d.Try(r.Context(), r.hook, sample)
	}
	switch noEvents, noDecisions := errors.Is(told, events.ErrNoHook), errors.Is(decided, hooks.ErrNoHook); {
	case noEvents && noDecisions:
		return notFound("instance %q has no hook %q", r.id, r.hook)
	case decided != nil && !noDecisions:
		return problem(http.StatusBadRequest, "query", "Invalid query", "%v", decided)
	case noEvents:
		told = nil
	}
	outcome := HookTest{OK: told == nil, TookMS: time.Since(began).Milliseconds()}
	if told != nil {
		outcome.Error = "it has not taken the test event: " + told.Error()
	}
	for i := range trials {
		outcome.add(&trials[i])
	}
	return answer(w, http.StatusOK, outcome)
}

// add adds a decision to what came of a test.
func (o *HookTest) add(t *hooks.Trial) {
	one := HookTrial{Type: t.Kind, OK: t.Err == nil, Request: t.Request, Status: t.Status, Answer: t.Answer, TookMS: t.Took.Milliseconds(), Effect: t.Effect}
	if t.Err != nil {
		one.Error = t.Err.Error()
		if o.OK = false; o.Error == "" {
			o.Error = "no valid answer for " + t.Kind + ": " + one.Error
		}
	}
	o.Decisions = append(o.Decisions, one)
}

// sampleOf reads the query of a test.
func sampleOf(r *request) (s hooks.Sample, err error) {
	s.Topic, s.Event = r.query.Get("topic"), r.query.Get("event")
	for name, into := range map[string]*json.RawMessage{"payload": &s.Payload, "params": &s.Params, "claims": &s.Claims} {
		var object map[string]json.RawMessage
		switch value := r.query.Get(name); {
		case value == "":
		case json.Unmarshal([]byte(value), &object) != nil || object == nil:
			return s, badQuery(name, "must be a JSON object")
		default:
			*into = json.RawMessage(value)
		}
	}
	return s, nil
}

func noHook(r *request) error {
	return notFound("instance %q has no hook %q that is told of events", r.id, r.hook)
}
