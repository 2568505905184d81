package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/instances/chat"
	"github.com/mycelium-rt/mycelium/internal/config"
	"github.com/mycelium-rt/mycelium/internal/doctor"
)

// recordedBy returns what a configuration records, for the doctor: in the default instance
// and in those that it declares.
func recordedBy(cfg *config.Config) doctor.History {
	h := doctor.History{Memory: int64(cfg.History.Memory)}
	add := func(id string, rules []instances.HistoryRule) {
		for i, r := range rules {
			name := fmt.Sprintf("history of %s, rule %d", id, i+1)
			if id == defaultInstance {
				name = fmt.Sprintf("history.rules[%d]", i)
			}
			h.Rules = append(h.Rules, doctor.HistoryRule{
				Name: name, Topics: topicsOf(&r), Messages: int64(cmp.Or(r.Messages, history.DefaultMessages)),
				Bytes: cmp.Or(int64(r.Bytes), history.DefaultBytes), OnJoin: int64(r.OnJoin),
			})
		}
	}
	for _, spec := range (&checker{cfg: cfg}).declared() {
		rules := spec.History
		if len(rules) == 0 && spec.Type == chat.Type().Name() {
			var c chat.Config
			if len(spec.Config) == 0 || json.Unmarshal(spec.Config, &c) == nil {
				rules = c.HistoryRules()
			}
		}
		add(spec.ID, rules)
	}
	return h
}

// topicsOf returns how many topics a rule is for, 0 if it has a pattern.
func topicsOf(r *instances.HistoryRule) int {
	for _, topic := range r.Topics {
		if strings.HasSuffix(topic, "*") {
			return 0
		}
	}
	return len(r.Topics)
}
