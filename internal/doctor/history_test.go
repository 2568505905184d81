package doctor

import (
	"strings"
	"testing"
)

func TestHistory(t *testing.T) {
	rule := HistoryRule{Name: "history.rules[0]", Messages: 100, Bytes: 256 << 10}
	with := func(change func(r *HistoryRule)) HistoryRule { r := rule; change(&r); return r }
	for name, c := range map[string]struct {
		memory int64
		rule   HistoryRule
		status Status
		says   string // in why or what to do; in the value if nothing needs to be done
	}{
		"defaults":         {256 << 20, rule, OK, "room for 1,024 full topics"},
		"few topics":       {4 << 20, rule, Advice, "room for 16 topics"},
		"enough":           {5 << 20, rule, OK, "room for 20 full topics"},
		"one topic":        {4 << 20, with(func(r *HistoryRule) { r.Topics = 1 }), OK, "room for 16 full topics"},
		"seventeen topics": {4 << 20, with(func(r *HistoryRule) { r.Topics = 17 }), Advice, "memory: 5MiB"},
		"too large":        {128 << 10, with(func(r *HistoryRule) { r.Topics = 1 }), Advice, "go before the rule says so"},
		"many messages":    {256 << 20, with(func(r *HistoryRule) { r.Messages = 10_000 }), Advice, "bytes: 3300KiB"},
		"on_join":          {256 << 20, with(func(r *HistoryRule) { r.OnJoin = 101 }), Advice, "messages: 101"},
	} {
		r := Report{OK: true}
		r.ExamineHistory(machineOf(recorded(t, "server")), History{Memory: c.memory, Rules: []HistoryRule{c.rule}})
		if len(r.History) != 2 || !r.OK {
			t.Fatalf("%s: %+v", name, r)
		}
		got := r.History[1]
		said := got.Value
		if got.Status != OK {
			said = got.Why + " " + got.Fix[0].Do
		}
		if got.Status != c.status || !strings.Contains(said, c.says) {
			t.Errorf("%s: %+v, want %s and %q", name, got, c.status, c.says)
		}
	}
	for memory, want := range map[int64]Status{1 << 20: OK, 1 << 40: Advice} {
		var r Report
		r.ExamineHistory(machineOf(recorded(t, "container")), History{Memory: memory, Rules: []HistoryRule{rule}})
		if got := r.History[0]; got.Status != want {
			t.Errorf("%s: %+v, want %s", size(memory), got, want)
		}
		var text strings.Builder
		if err := r.WriteText(&text); err != nil || !strings.Contains(text.String(), "For what is recorded:\n\n") {
			t.Errorf("%v\n%s", err, &text)
		}
	}
	var r Report
	if r.ExamineHistory(machineOf(recorded(t, "server")), History{Memory: 1 << 40}); len(r.History) > 0 {
		t.Errorf("without rules: %+v", r)
	}
}
