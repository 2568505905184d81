package conformance

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// mutation is a deliberate change of the answers.
type mutation struct {
	name string
	// wantErr must be in the error; "*" stands for any error.
	wantErr string
	// apply changes step i of steps, which is a copy, or returns false.
	apply func(steps []Step, i int) ([]Step, bool)
}

var mutations = []mutation{
	{"altered text", "received", alterText},
	{"altered binary", "received", func(s []Step, i int) ([]Step, bool) {
		return s, s[i].RecvBin != nil && setText(&s[i].RecvBin, *s[i].RecvBin+"00")
	}},
	{"altered pong", "received", func(s []Step, i int) ([]Step, bool) {
		return s, s[i].Pong != nil && setText(&s[i].Pong, ("y" + *s[i].Pong)[:max(1, len(*s[i].Pong))])
	}},
	{"altered close code", "received", func(s []Step, i int) ([]Step, bool) {
		if s[i].Closed == nil {
			return s, false
		}
		s[i].Closed = &Closed{Code: Numbers{4321}, Reason: s[i].Closed.Reason}
		return s, true
	}},
	{"altered close reason", "received", func(s []Step, i int) ([]Step, bool) {
		if s[i].Closed == nil {
			return s, false
		}
		s[i].Closed = &Closed{Code: s[i].Closed.Code, Reason: "because"}
		return s, true
	}},
	{"altered status", "status", alterStatus},
	{"altered accept", "sec-websocket-accept", alterHeader("sec-websocket-accept", "bm90IHRoaXM=")},
	{"subprotocol nobody chose", "sec-websocket-protocol", alterHeader("sec-websocket-protocol", "surprise")},
	{"extension nobody offered", "extension", alterHeader("sec-websocket-extensions", "permessage-surprise")},
	{"altered content-type", "content-type", alterHeader("content-type", "text/plain")},
	{"altered access-control", "access-control", alterHeader("access-control-allow-origin", "http://elsewhere.test")},
	{"additional access-control", "access-control", alterHeader("access-control-max-age", "1")},
	{"altered body", "received", alterBody},
	{"lost message", "*", func(s []Step, i int) ([]Step, bool) {
		ok := s[i].Recv != nil || s[i].RecvBin != nil || s[i].Pong != nil
		return slices.Delete(s, i, i+1), ok
	}},
	{"doubled message", "received", func(s []Step, i int) ([]Step, bool) {
		return slices.Insert(s, i, s[i]), s[i].Recv != nil || s[i].RecvBin != nil || s[i].Pong != nil
	}},
	{"lost polled message", "*", editMessages(func(list []any) []any { return list[1:] })},
	{"doubled polled message", "received", editMessages(func(list []any) []any { return append(list, list[0]) })},
	{"altered polled message", "received", editMessages(func(list []any) []any {
		return append([]any{strings.Replace(list[0].(string), "phx_", "php_", 1) + " "}, list[1:]...)
	})},
}

func setText(field **string, text string) bool {
	*field = &text
	return true
}

func alterText(s []Step, i int) ([]Step, bool) {
	if s[i].Recv == nil {
		return s, false
	}
	for _, word := range []string{`"phx_reply"`, `"phx_close"`, `"phx_error"`, `"presence_diff"`, `"joins"`, `"`} {
		if strings.Contains(*s[i].Recv, word) {
			return s, setText(&s[i].Recv, strings.Replace(*s[i].Recv, word, `"altered`+word[1:], 1))
		}
	}
	return s, setText(&s[i].Recv, *s[i].Recv+"altered")
}

func alterStatus(s []Step, i int) ([]Step, bool) {
	for _, a := range []**Answer{&s[i].Opened, &s[i].HTTPResponse} {
		if *a != nil {
			altered := **a
			altered.Status = Numbers{418}
			*a = &altered
			return s, true
		}
	}
	return s, false
}

func alterHeader(name, value string) func([]Step, int) ([]Step, bool) {
	return func(s []Step, i int) ([]Step, bool) {
		a := &s[i].Opened
		if strings.HasPrefix(name, "sec-") {
			if *a == nil || !(*a).Status.Has(101) {
				return s, false
			}
		} else if a = &s[i].HTTPResponse; *a == nil || !(*a).Status.Has(200) {
			return s, false
		}
		altered := **a
		altered.Headers = map[string]string{}
		for k, v := range (*a).Headers {
			altered.Headers[k] = v
		}
		altered.Headers[name] = value
		*a = &altered
		return s, true
	}
}

func alterBody(s []Step, i int) ([]Step, bool) {
	for _, a := range []**Answer{&s[i].Opened, &s[i].HTTPResponse} {
		if *a == nil || (*a).Body == nil {
			continue
		}
		if status := (*a).Status[0]; status == 400 || status >= 500 || *a == s[i].HTTPResponse && status != 200 {
			return s, false
		}
		altered := **a
		body := strings.Replace(*altered.Body, `"status":`, `"altered":1,"status":`, 1)
		if body == *altered.Body {
			body += "altered"
		}
		altered.Body = &body
		*a = &altered
		return s, true
	}
	return s, false
}

func editMessages(edit func([]any) []any) func([]Step, int) ([]Step, bool) {
	return func(s []Step, i int) ([]Step, bool) {
		if s[i].HTTPResponse == nil || s[i].HTTPResponse.Body == nil {
			return s, false
		}
		var body map[string]any
		if json.Unmarshal([]byte(*s[i].HTTPResponse.Body), &body) != nil {
			return s, false
		}
		list, ok := body["messages"].([]any)
		if !ok || len(list) == 0 {
			return s, false
		}
		body["messages"] = edit(list)
		out, err := json.Marshal(body)
		altered, text := *s[i].HTTPResponse, string(out)
		altered.Body = &text
		s[i].HTTPResponse = &altered
		return s, err == nil
	}
}

// mostPlaces bounds the recordings for each mutation. More would only be slower.
const mostPlaces = 60

// TestMutatedAnswersFail checks that a change of the answers in one place is noticed.
func TestMutatedAnswersFail(t *testing.T) {
	t.Parallel()
	better, err := Better()
	if err != nil {
		t.Fatal(err)
	}
	scenarios := append(load(t), better...)
	var trials []trial
	used := map[string]int{}
	for n, m := range mutations {
		for _, at := range rand.New(rand.NewPCG(1, uint64(n))).Perm(len(scenarios)) {
			if one, ok := mutant(scenarios[at], m); ok && used[m.name] < mostPlaces {
				used[m.name]++
				trials = append(trials, one)
			}
		}
	}
	for _, m := range mutations {
		if used[m.name] == 0 {
			t.Errorf("no recording has a place for %q", m.name)
		}
	}
	t.Logf("%d mutants: %v", len(trials), used)
	runTrials(t, trials)
}

// mutant applies the mutation at the last place of a recording where it is possible.
func mutant(s Scenario, m mutation) (trial, bool) {
	r := s.Recordings[0]
	if slow(r.Steps) || huge(r.Steps) {
		return trial{}, false
	}
	required := requiredSteps(s.Name, r)
	for i := len(r.Steps) - 1; i >= 0; i-- {
		if r.Steps[i].isAction() || !required[r.Steps[i].Number] {
			continue
		}
		if steps, ok := m.apply(slices.Clone(r.Steps), i); ok {
			return trial{scenario: s.Name, play: r, answers: steps, wantErr: m.wantErr,
				label: s.Name + ", " + m.name + " at step " + shortJSON(i+1)}, true
		}
	}
	return trial{}, false
}

// requiredSteps returns the numbers of the steps that must be observed.
func requiredSteps(name string, r Recording) map[int]bool {
	p := newPlan(name, r)
	required := map[int]bool{}
	for _, b := range p.blocks {
		for _, it := range b.items {
			required[it.step.Number] = true
		}
		for _, a := range b.answers {
			required[a.step.Number] = true
		}
	}
	return required
}

// TestOrder swaps neighbouring steps of a client. The play must pass where the order is
// free, and fail elsewhere.
func TestOrder(t *testing.T) {
	var trials []trial
	free, fixed := 0, 0
	for _, s := range load(t) {
		r := s.Recordings[0]
		if slow(r.Steps) {
			continue
		}
		p := newPlan(s.Name, r)
		for _, b := range p.blocks {
			for i := 1; i < len(b.items) && i < 8; i++ {
				x, y := b.items[i-1], b.items[i]
				if x.client != y.client || !x.isMessage() || !y.isMessage() || x.text == y.text || y.step.Number != x.step.Number+1 {
					continue
				}
				steps := slices.Clone(r.Steps)
				at := x.step.Number - 1
				steps[at], steps[at+1] = steps[at+1], steps[at]
				one := trial{scenario: s.Name, play: r, answers: steps, label: s.Name + ", swapped at step " + shortJSON(at+1)}
				if p.precedes(x, y) {
					one.wantErr = "received"
					fixed++
				} else {
					free++
				}
				trials = append(trials, one)
			}
		}
	}
	if free == 0 || fixed == 0 {
		t.Errorf("%d swaps that are free and %d that are not, want both", free, fixed)
	}
	runTrials(t, trials)
}
