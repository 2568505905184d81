package conformance

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// longPollBody is the JSON object of a long-poll answer.
type longPollBody struct {
	status      string // "" if there is none
	messages    []string
	hasMessages bool
	rest        string // the object without status and messages
}

// parsePoll parses a body. ok is false if it is not the body of a long-poll answer.
func parsePoll(text string) (body longPollBody, ok bool) {
	v, err := parseJSON(expandRepeat(text))
	object, isObject := v.(map[string]any)
	if err != nil || !isObject {
		return body, false
	}
	status, isNumber := object["status"].(json.Number)
	if !isNumber {
		return body, false
	}
	body.status = string(status)
	if list, isList := object["messages"].([]any); isList {
		body.hasMessages = true
		for _, one := range list {
			message, isString := one.(string)
			if !isString {
				return body, false
			}
			body.messages = append(body.messages, message)
		}
		delete(object, "messages")
	}
	delete(object, "status")
	rest, err := json.Marshal(object)
	body.rest = string(rest)
	return body, err == nil
}

// pollBody is parsePoll of a recorded answer.
func pollBody(a *Answer) (longPollBody, bool) {
	if a.Body == nil || !a.Status.Has(200) {
		return longPollBody{}, false
	}
	return parsePoll(*a.Body)
}

// answer checks the answer to a request. It polls again until a poll has everything that
// was recorded.
func (p *play) answer(b *block, poll *pollPlan, ex *exchange) error {
	if ex.err != nil {
		return fmt.Errorf("%s %s: %w", poll.request.HTTP.Method, poll.request.HTTP.Path, ex.err)
	}
	if poll.ageing != nil {
		poll = poll.ageing.choose(b, poll, ex.answer)
	}
	want := poll.step.HTTPResponse
	withBody, err := compareHTTP(want, ex.answer)
	if err != nil || !withBody {
		return err
	}
	if err := p.checkEarly(poll, ex); err != nil {
		return err
	}
	if poll.isPoll {
		return p.takePoll(b, poll, ex)
	}
	return p.matcher.accept(*want.Body, ex.answer.body)
}

// tooEarly applies the limit of FORMAT.md section 7.
func tooEarly(elapsed time.Duration, recordedMs int) bool {
	least := time.Duration(0.6*float64(recordedMs))*time.Millisecond - 100*time.Millisecond
	return elapsed < least
}

// checkEarly returns an error for a 204 before the poll's window can have passed.
func (p *play) checkEarly(poll *pollPlan, ex *exchange) error {
	recorded, ok := pollBody(poll.step.HTTPResponse)
	got, okGot := parsePoll(ex.answer.body)
	if !ok || !okGot || recorded.status != "204" || got.status != "204" || poll.step.MsAbout == nil || ex.overlapped {
		return nil
	}
	if tooEarly(ex.elapsed, *poll.step.MsAbout) {
		return fmt.Errorf("status 204 too early: after %v, recorded about %d ms", ex.elapsed.Round(time.Millisecond), *poll.step.MsAbout)
	}
	return nil
}

// pollPause prevents a tight loop if a server answers polls at once without messages.
const pollPause = 10 * time.Millisecond

// takePoll takes the messages of a poll, and of further polls while some are missing.
func (p *play) takePoll(b *block, poll *pollPlan, ex *exchange) error {
	active := append([]*item{}, poll.messages...)
	until := b.index
	for _, next := range poll.follow {
		active = append(active, next.answers[0].messages...)
		until = next.index
	}
	active = append(active, p.allowances(until)...)
	deadline := time.Now().Add(p.options.Patience)
	for {
		if err := p.takeMessages(poll, ex.answer, active); err != nil {
			return err
		}
		if p.matcher.satisfied(poll.messages) {
			p.matcher.keepComplete(poll.messages)
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("still missing after %v of polling: %s", p.options.Patience, list(p.matcher.missing(poll.messages)))
		}
		p.trace("poll again")
		if err := p.pause(pollPause); err != nil {
			return err
		}
		again, err := p.start(poll.request, 0)
		if err != nil {
			return err
		}
		<-again.done
		if ex = again; ex.err != nil {
			return fmt.Errorf("poll again: %w", ex.err)
		}
		if _, err := compareHTTP(poll.step.HTTPResponse, ex.answer); err != nil {
			return fmt.Errorf("poll again: %w", err)
		}
	}
}

// takeMessages compares an answer to a poll. Everything except the messages must be as
// recorded, and the status must fit the messages.
func (p *play) takeMessages(poll *pollPlan, got *httpAnswer, active []*item) error {
	want, _ := pollBody(poll.step.HTTPResponse)
	body, ok := parsePoll(got.body)
	if !ok || !body.hasMessages {
		return fmt.Errorf("expected a long-poll answer with status %s\n  received %s", want.status, short(got.body))
	}
	if (body.status != "200" || len(body.messages) == 0) && (body.status != "204" || len(body.messages) > 0) {
		return fmt.Errorf("expected a long-poll answer with status %s\n  received %s", want.status, short(got.body))
	}
	if err := p.matcher.accept(want.rest, body.rest); err != nil {
		return err
	}
	for _, text := range body.messages {
		ev := event{client: poll.step.Client, kind: eventText, text: text, at: time.Now()}
		p.trace("client %d polled %s", ev.client, ev)
		if err := p.matcher.feed(ev, active); err != nil {
			return err
		}
	}
	return nil
}

// leaveOut reports whether the poll before has brought all messages of a poll, which is
// then not made.
func (p *play) leaveOut(b *block) bool {
	if !b.isPlainPoll() || len(b.answers[0].messages) == 0 {
		return false
	}
	messages := b.answers[0].messages
	return p.matcher.filter(func(s state) bool { return s.hasAll(messages) })
}

// choose returns the recorded answer to compare a request of the row with. Where rule 8
// leaves it open, that is alive or dead as the received answer.
func (a *ageing) choose(b *block, own *pollPlan, got *httpAnswer) *pollPlan {
	if b == a.first || b == a.last {
		return own
	}
	body, ok := parsePoll(got.body)
	a.gone = a.gone || ok && body.status == "410"
	recorded, _ := pollBody(own.step.HTTPResponse)
	switch {
	case a.gone == (recorded.status == "410"):
		return own
	case a.gone:
		return &pollPlan{step: forEarlier(a.dead, b.index), request: own.request}
	default:
		return &pollPlan{step: a.alive, request: own.request, isPoll: own.request.HTTP.Method == "GET"}
	}
}

// forEarlier copies an answer with 410 for an earlier request. Its new token is a
// different one.
func forEarlier(dead *Step, index int) *Step {
	step, answer := *dead, *dead.HTTPResponse
	body := placeholderPattern.ReplaceAllStringFunc(*answer.Body, func(found string) string {
		m := placeholderPattern.FindStringSubmatch(found)
		return fmt.Sprintf("${%s:%s_in_block_%d}", m[1], m[2], index)
	})
	answer.Body = &body
	step.HTTPResponse = &answer
	return &step
}

func list(items []*item) string {
	var names []string
	for _, it := range items {
		names = append(names, fmt.Sprintf("client %d: %s (step %d)", it.client, it, it.step.Number))
	}
	const most = 5
	if len(names) > most {
		names = append(names[:most], fmt.Sprintf("and %d more", len(names)-most))
	}
	return strings.Join(names, "\n           ")
}
