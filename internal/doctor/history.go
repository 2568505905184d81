package doctor

import "fmt"

// History is the configuration of what a server records.
type History struct {
	Memory int64 // history.memory, in bytes
	Rules  []HistoryRule
}

// HistoryRule is a rule with its defaults filled in.
type HistoryRule struct {
	Name     string // where it is, such as "history.rules[0]"
	Topics   int    // how many topics it is for; 0: any number, because of a pattern
	Messages int64
	Bytes    int64
	OnJoin   int64
}

const (
	// memoryShare is the part of the memory that recorded messages may take without
	// advice: one half.
	memoryShare = 2
	// fewTopics is less than the number of busy topics that most servers have.
	fewTopics = 20
	// smallMessage is about what a small recorded message takes of a rule's bytes.
	smallMessage = 80
)

// ExamineHistory checks what a server records against the memory that it may take.
func (r *Report) ExamineHistory(m Machine, h History) {
	if len(h.Rules) == 0 {
		return
	}
	r.History = append(r.History, historyMemory(&machine{Machine: m}, h))
	for _, rule := range h.Rules {
		r.History = append(r.History, rule.check(h.Memory))
	}
}

// historyMemory checks whether the machine has the memory that history may take.
func historyMemory(m *machine, h History) Check {
	const name = "history.memory"
	info, err := m.values("proc/meminfo")
	if err != nil {
		return unknown(name, err)
	}
	left, _ := m.memoryLeft()
	left = min(left, info["MemAvailable"])
	c := Check{Name: name, Status: OK, Value: size(h.Memory) + " of " + size(left) + " that are left", Why: "what recorded messages of all instances may take together"}
	if h.Memory > left/memoryShare {
		c.Status = Advice
		c.Why += "; connections need the rest"
		c.Fix = []Fix{{"file", fmt.Sprintf("history: {memory: %dMiB}", max(1, left/memoryShare>>20))}}
	}
	return c
}

// check checks a rule against the memory of all.
func (r *HistoryRule) check(memory int64) Check {
	c := Check{Name: r.Name, Status: OK, Value: fmt.Sprintf("up to %s messages, %s a topic", count(r.Messages), size(r.Bytes)), Why: "what is recorded of each topic"}
	fit := memory / max(1, r.Bytes)
	switch {
	case r.Bytes > memory:
		c.Status = Advice
		c.Why = fmt.Sprintf("a topic may have %s, but all together only %s (history.memory): its oldest messages go before the rule says so", size(r.Bytes), size(memory))
		c.Fix = []Fix{{"file", fmt.Sprintf("bytes: %dKiB   # of the rule, or a larger history.memory", max(1, memory/fewTopics>>10))}}
	case r.Topics > 0 && int64(r.Topics)*r.Bytes > memory, r.Topics == 0 && fit < fewTopics:
		c.Status = Advice
		c.Why = fmt.Sprintf("history.memory has room for %s topics with so many bytes; when there are more, the oldest messages of all go", count(fit))
		c.Fix = []Fix{{"file", fmt.Sprintf("history: {memory: %dMiB}   # or fewer bytes", mebibytes(r.Bytes*int64(max(r.Topics, fewTopics))))}}
	case r.Messages*smallMessage > r.Bytes:
		c.Status = Advice
		c.Why = fmt.Sprintf("bytes has room for some %s messages of 50 bytes, and for fewer larger ones: messages does not count", count(r.Bytes/smallMessage))
		c.Fix = []Fix{{"file", fmt.Sprintf("bytes: %dKiB   # of the rule, for messages of 300 bytes", roundUp(r.Messages*330>>10))}}
	case r.OnJoin > r.Messages:
		c.Status = Advice
		c.Why = fmt.Sprintf("on_join is %s, but no more messages are kept than %s", count(r.OnJoin), count(r.Messages))
		c.Fix = []Fix{{"file", fmt.Sprintf("messages: %d", r.OnJoin)}}
	default:
		c.Value += fmt.Sprintf("; history.memory has room for %s full topics", count(fit))
	}
	return c
}
