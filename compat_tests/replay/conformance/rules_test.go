package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Parts of made-up recordings, all of client 1.
const (
	openWS   = `{"client":1,"open":{"path":"/s","query":""}}`
	openedWS = `{"client":1,"opened":{"status":101,"headers":{"upgrade":"websocket","sec-websocket-accept":"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="}}}`
	act      = `{"client":1,"send":"[\"1\",\"9\",\"room:a\",\"act\",{}]"}`
	closed   = `{"client":1,"recv":"[\"1\",\"1\",\"room:a\",\"phx_close\",{}]"}`
	replied  = `{"client":1,"recv":"[\"1\",\"9\",\"room:a\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]"}`
	heart    = `{"client":1,"recv":"[null,\"3\",\"phoenix\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]"}`
	otherEv  = `{"client":1,"recv":"[null,null,\"room:b\",\"shout\",{}]"}`
	joinDiff = `{"client":1,"recv":"[null,null,\"room:a\",\"presence_diff\",{\"joins\":{\"x\":{\"metas\":[{\"phx_ref\":\"${phx_ref:1}\"}]}},\"leaves\":{}}]"}`
	ownLeave = `{"client":1,"recv":"[null,null,\"room:a\",\"presence_diff\",{\"joins\":{},\"leaves\":{\"x\":{\"metas\":[{\"phx_ref\":\"${phx_ref:1}\"}]}}}]"}`
	pong     = `{"client":1,"pong":"p"}`
)

// unmatched returns the answer that rule 5 allows.
func unmatched(ref string) string {
	return fmt.Sprintf(`{"client":1,"recv":"[null,\"%s\",\"room:a\",\"phx_reply\",{\"status\":\"error\",\"response\":{\"reason\":\"unmatched topic\"}}]"}`, ref)
}

func sendMany(messages ...string) string {
	return `{"client":1,"send_many":[` + strings.Join(messages, ",") + `]}`
}

func event1(ref, event string) string {
	return fmt.Sprintf(`"[\"1\",\"%s\",\"room:a\",\"%s\",{}]"`, ref, event)
}

func get(query string) string {
	return fmt.Sprintf(`{"client":1,"http":{"path":"/lp","query":"%s","method":"GET"}}`, query)
}

func answered(ms int, body string) string {
	return fmt.Sprintf(`{"client":1,"http_response":{"status":200,"headers":{},"body":%q},"ms_about":%d}`, body, ms)
}

func polled(messages ...string) string {
	list := shortJSON(messages)
	if len(messages) == 0 {
		return answered(0, `{"messages":[],"status":204,"token":"${token:1}"}`)
	}
	return answered(0, `{"messages":`+list+`,"status":200,"token":"${token:1}"}`)
}

const (
	msgA = `["1","1","room:a","a",{}]`
	msgB = `["1","2","room:a","b",{}]`
)

// rule is a recording, and answers to it that must or must not pass.
type rule struct {
	name     string
	scenario string // the name, if it matters
	recorded []string
	answers  []string
	wantErr  string
}

func runRules(t *testing.T, rules []rule) {
	var trials []trial
	for _, r := range rules {
		if r.scenario == "" {
			r.scenario = "made_up"
		}
		trials = append(trials, trial{scenario: r.scenario, play: recording(t, r.recorded...),
			answers: recording(t, r.answers...).Steps, label: r.name, wantErr: r.wantErr})
	}
	runTrials(t, trials)
}

// ws returns the steps with a handshake before them.
func ws(steps ...string) []string { return append([]string{openWS, openedWS}, steps...) }

func TestRulesOfOrder(t *testing.T) {
	pipelined := sendMany(event1("2", "echo"), event1("3", "echo"))
	runRules(t, []rule{
		{name: "recorded order", recorded: ws(act, replied, closed), answers: ws(act, closed, replied), wantErr: "received"},
		{name: "pong and message", recorded: ws(act, pong, replied), answers: ws(act, replied, pong), wantErr: "received"},
		{name: "rule 1: diff before reply", recorded: ws(act, replied, joinDiff), answers: ws(act, joinDiff, replied)},
		{name: "rule 1: diffs keep their order", recorded: ws(act, joinDiff, strings.ReplaceAll(joinDiff, "phx_ref:1", "phx_ref:2"), act,
			strings.Replace(ownLeave, "phx_ref:1", "phx_ref:2", 1)),
			answers: ws(act, joinDiff, strings.ReplaceAll(joinDiff, "phx_ref:1", "phx_ref:2"), act, ownLeave), wantErr: "received"},
		{name: "rule 2: own leave unrecorded", recorded: ws(act, joinDiff, act, closed), answers: ws(act, joinDiff, act, ownLeave, closed)},
		{name: "rule 2: own leave after close", recorded: ws(act, joinDiff, act, closed), answers: ws(act, joinDiff, act, closed, ownLeave)},
		{name: "rule 2: own leave in a later block", recorded: ws(act, joinDiff, act, closed, act, replied), answers: ws(act, joinDiff, act, closed, act, ownLeave, replied)},
		{name: "rule 2: own leave recorded and missing", recorded: ws(act, joinDiff, act, ownLeave, closed), answers: ws(act, joinDiff, act, closed)},
		{name: "rule 2: own leave twice", recorded: ws(act, joinDiff, act, closed), answers: ws(act, joinDiff, act, closed, ownLeave, ownLeave), wantErr: "nothing more"},
		{name: "rule 2: leave without a close", recorded: ws(act, joinDiff, act, replied), answers: ws(act, joinDiff, act, replied, ownLeave), wantErr: "nothing more"},
		{name: "rule 2: of another topic", recorded: ws(act, joinDiff, act, closed), answers: ws(act, joinDiff, act, closed, strings.Replace(ownLeave, "room:a", "room:b", 1)), wantErr: "nothing more"},
		{name: "rule 2: a join is not free", recorded: ws(act, closed), answers: ws(act, closed, joinDiff), wantErr: "nothing more"},
		{name: "rule 3: heartbeat", recorded: ws(act, heart, replied), answers: ws(act, replied, heart)},
		{name: "rule 3: two heartbeats", recorded: ws(act, heart, strings.Replace(heart, `\"3\"`, `\"4\"`, 1)), answers: ws(act, strings.Replace(heart, `\"3\"`, `\"4\"`, 1), heart), wantErr: "received"},
		{name: "rule 3: two topics", recorded: ws(act, replied, otherEv), answers: ws(act, otherEv, replied), wantErr: "received"},
		{name: "rule 6: other scenario", recorded: ws(pipelined, replied, closed), answers: ws(pipelined, closed, replied), wantErr: "received"},
		{name: "rule 6", scenario: "made_up_pipelined", recorded: ws(pipelined, replied, closed), answers: ws(pipelined, closed, replied)},
		{name: "rule 6: other action", scenario: "made_up_pipelined", recorded: ws(act, replied, closed), answers: ws(act, closed, replied), wantErr: "received"},
	})
}

func TestRuleSentAtOnce(t *testing.T) {
	batch := sendMany(event1("2", "stop"), event1("3", "echo"))
	left := sendMany(event1("9", "phx_leave"), event1("1", "phx_join"))
	none := sendMany(event1("2", "echo"), event1("3", "echo"))
	runRules(t, []rule{
		{name: "answered though recorded lost", recorded: ws(batch, closed), answers: ws(batch, closed, unmatched("3"))},
		{name: "answered first", recorded: ws(batch, closed), answers: ws(batch, unmatched("3"), closed)},
		{name: "answered late", recorded: ws(batch, closed, act, replied), answers: ws(batch, closed, act, unmatched("3"), replied)},
		{name: "lost though recorded answered", recorded: ws(batch, closed, unmatched("3")), answers: ws(batch, closed)},
		{name: "answered twice", recorded: ws(batch, closed), answers: ws(batch, closed, unmatched("3"), unmatched("3")), wantErr: "nothing more"},
		{name: "the stop itself", recorded: ws(batch, closed), answers: ws(batch, closed, unmatched("2")), wantErr: "nothing more"},
		{name: "another answer", recorded: ws(batch, closed), answers: ws(batch, closed, strings.Replace(unmatched("3"), "unmatched topic", "gone", 1)), wantErr: "nothing more"},
		{name: "all the rest must come", recorded: ws(batch, closed, unmatched("3")), answers: ws(batch, unmatched("3")), wantErr: "*"},
		{name: "no stop before", recorded: ws(none, unmatched("3")), answers: ws(none), wantErr: "*"},
		{name: "leave overtaken by a join", recorded: ws(left, replied, closed), answers: ws(left, closed)},
	})
}

func TestRuleConnectionEnds(t *testing.T) {
	end := `{"client":1,"closed":{"code":1000,"reason":""}}`
	bye := `{"client":1,"close":{"code":1000}}`
	eof, reset := `{"client":1,"eof":true}`, `{"client":1,"reset":"ECONNRESET"}`
	second := []string{strings.Replace(openWS, `1,`, `2,`, 1), strings.Replace(openedWS, `"client":1`, `"client":2`, 1)}
	runRules(t, []rule{
		{name: "eof for reset", recorded: ws(bye, end, reset), answers: ws(bye, end, eof)},
		{name: "eof later", recorded: append(ws(bye, end, eof), second...), answers: append(ws(bye, end), append(second, eof)...)},
		{name: "eof unrecorded", recorded: ws(bye, end), answers: ws(bye, end, eof)},
		{name: "never", recorded: ws(bye, end, eof), answers: ws(bye, end), wantErr: "*"},
		{name: "eof without close frame", recorded: ws(bye, end, eof), answers: ws(bye, eof), wantErr: "received"},
		{name: "eof is no lost 1009", recorded: ws(act, strings.Replace(end, "1000", "1009", 1), eof), answers: ws(act, eof), wantErr: "received"},
		{name: "eof nobody recorded", recorded: ws(act, replied), answers: ws(act, replied, eof), wantErr: "nothing more"},
		{name: "eof as recorded", recorded: ws(act, replied, eof), answers: ws(act, replied, eof)},
	})
}

func TestTime(t *testing.T) {
	closedAfter := func(ms int) string {
		return fmt.Sprintf(`{"client":1,"closed":{"code":1002,"reason":""},"after_ms_about":%d}`, ms)
	}
	listen, hush, wait := `{"client":1,"listen":400}`, `{"silence_ms":200}`, `{"wait":250}`
	nothing := func(ms int) string { return answered(ms, `{"messages":[],"status":204,"token":"t"}`) }
	runRules(t, []rule{
		{name: "closed in time", recorded: ws(listen, closedAfter(400)), answers: ws(listen, closedAfter(200))},
		{name: "closed too early", recorded: ws(listen, closedAfter(400)), answers: ws(listen, closedAfter(20)), wantErr: "too early"},
		{name: "closed late", recorded: ws(listen, closedAfter(400)), answers: ws(listen, closedAfter(900))},
		{name: "message while listening", recorded: ws(listen), answers: ws(listen, replied), wantErr: "nothing more"},
		{name: "204 in time", recorded: []string{get(""), nothing(400)}, answers: []string{get(""), nothing(200)}},
		{name: "204 too early", recorded: []string{get(""), nothing(400)}, answers: []string{get(""), nothing(10)}, wantErr: "too early"},
		{name: "silence", recorded: ws(act, replied, hush), answers: ws(act, replied)},
		{name: "silence broken", recorded: ws(act, replied, hush), answers: ws(act, replied, replied), wantErr: "silence of step 5"},
		{name: "what comes in a wait belongs to what follows", recorded: ws(act, wait, act, replied), answers: ws(act, replied, wait, act)},
		{name: "something at the end", recorded: ws(act), answers: ws(act, replied), wantErr: "at the end"},
	})
}

func TestPolls(t *testing.T) {
	session := []string{get(""), answered(0, `{"messages":[],"status":410,"token":"${token:1}"}`)}
	lp := func(steps ...string) []string { return append(slices.Clone(session), steps...) }
	ask := get("token=${token:1}")
	post := `{"client":1,"http":{"path":"/lp","query":"token=${token:1}","method":"POST","body":"x"}}`
	taken := answered(0, `{"status":200}`)
	wait := `{"wait":10}`
	runRules(t, []rule{
		{name: "spread over two polls", recorded: lp(ask, polled(msgA, msgB)), answers: lp(ask, polled(msgA), ask, polled(msgB))},
		{name: "a poll with nothing between", recorded: lp(ask, polled(msgA, msgB)), answers: lp(ask, polled(msgA), ask, polled(), ask, polled(msgB))},
		{name: "never all there", recorded: lp(ask, polled(msgA, msgB)), answers: lp(ask, polled(msgA)), wantErr: "*"},
		{name: "order over polls", recorded: lp(ask, polled(msgA, msgB)), answers: lp(ask, polled(msgB), ask, polled(msgA)), wantErr: "received"},
		{name: "too many", recorded: lp(ask, polled(msgA)), answers: lp(ask, polled(msgA, msgB)), wantErr: "nothing more"},
		{name: "those of the next poll too", recorded: lp(ask, polled(msgA), wait, ask, polled(msgB)), answers: lp(ask, polled(msgA, msgB))},
		{name: "some of the next poll", recorded: lp(ask, polled(msgA), ask, polled(msgB, msgA)), answers: lp(ask, polled(msgA, msgB), ask, polled(msgA))},
		{name: "something done between", recorded: lp(ask, polled(msgA), post, taken, ask, polled(msgB)), answers: lp(ask, polled(msgA, msgB)), wantErr: "nothing more"},
		{name: "another token", recorded: lp(ask, polled(msgA)), answers: lp(ask, strings.Replace(polled(msgA), "${token:1}", "other", 1)), wantErr: "received"},
		{name: "status does not fit", recorded: lp(ask, polled(msgA)), answers: lp(ask, strings.Replace(polled(msgA), `\"status\":200`, `\"status\":204`, 1)), wantErr: "received"},
		{name: "session gone", recorded: lp(ask, polled(msgA)), answers: lp(ask, answered(0, `{"messages":[],"status":410,"token":"new"}`)), wantErr: "received"},
	})
}

// TestRuleAgeing tests rule 8: a session may die of age at any time.
func TestRuleAgeing(t *testing.T) {
	post := `{"client":1,"http":{"path":"/lp","query":"token=t","method":"POST","body":"x"}}`
	alive, dead := answered(0, `{"status":200}`), answered(0, `{"status":410}`)
	row := func(answers ...string) []string {
		var steps []string
		for _, a := range answers {
			steps = append(steps, post, a, `{"wait":5}`)
		}
		return steps
	}
	poll := get("token=t")
	gone := func(n int) string {
		return answered(0, fmt.Sprintf(`{"messages":[],"status":410,"token":"${token:%d}"}`, n))
	}
	runRules(t, []rule{
		{name: "as recorded", recorded: row(alive, alive, dead), answers: row(alive, alive, dead)},
		{name: "earlier", recorded: row(alive, alive, dead), answers: row(alive, dead, dead)},
		{name: "later", recorded: row(alive, dead, dead), answers: row(alive, alive, dead)},
		{name: "first must be alive", recorded: row(alive, alive, dead), answers: row(dead, dead, dead), wantErr: "received"},
		{name: "last must be dead", recorded: row(alive, alive, dead), answers: row(alive, alive, alive), wantErr: "received"},
		{name: "dead stays dead", recorded: row(alive, alive, alive, dead), answers: row(alive, dead, alive, dead), wantErr: "received"},
		{name: "two are no row", recorded: row(alive, dead), answers: row(dead, dead), wantErr: "received"},
		{name: "polls, earlier", recorded: []string{poll, polled(), poll, polled(), poll, gone(2)}, answers: []string{poll, polled(), poll, gone(3), poll, gone(2)}},
		{name: "polls, later", recorded: []string{poll, polled(), poll, gone(2), poll, gone(3)}, answers: []string{poll, polled(), poll, polled(), poll, gone(3)}},
	})
}

// TestOverlappingPolls checks that a poll replaced by another may get its 204 at once.
func TestOverlappingPolls(t *testing.T) {
	async := func(name string) string { return strings.Replace(get("token=t"), `"}}`, `"},"async":"`+name+`"}`, 1) }
	of := func(name string, ms int, body string) string {
		return strings.Replace(answered(ms, body), `,"ms_about"`, `,"of":"`+name+`","ms_about"`, 1)
	}
	nothing, msg := `{"messages":[],"status":204,"token":"t"}`, `{"messages":["[]"],"status":200,"token":"t"}`
	wait := `{"wait":10}`
	runRules(t, []rule{
		{name: "overlapping", recorded: []string{async("a"), async("b"), wait, of("a", 900, nothing), of("b", 300, msg)},
			answers: []string{async("a"), async("b"), wait, of("a", 150, nothing), of("b", 200, msg)}},
		{name: "alone", recorded: []string{async("a"), wait, of("a", 900, nothing)},
			answers: []string{async("a"), wait, of("a", 150, nothing)}, wantErr: "too early"},
	})
}
