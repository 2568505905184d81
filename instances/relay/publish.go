package relay

import (
	"fmt"
	"slices"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/internal/topics"
)

// Rule says who may publish some events on some topics.
type Rule struct {
	Topics []string `json:"topics,omitempty" jsonschema:"description=patterns of the topics that it is for; all if there are none"`
	Events []string `json:"events,omitempty" jsonschema:"description=patterns of the events that it is for; all if there are none"`
	// Who may: "everybody"; "nobody", which leaves the server's own program and
	// its API; or "assign": sockets whose Assign has one of Values.
	By     string   `json:"by" jsonschema:"enum=everybody,enum=nobody,enum=assign,description=who may publish: nobody leaves the API"`
	Assign string   `json:"assign,omitempty" jsonschema:"description=the assign of a socket that decides: a claim of its token"`
	Values []string `json:"values,omitempty" jsonschema:"description=of the assign: one of them is needed"`
}

// matches reports whether the rule is for an event on a topic.
func (r *Rule) matches(topic, event string) bool {
	return (len(r.Topics) == 0 || topics.MatchAny(r.Topics, topic)) && (len(r.Events) == 0 || topics.MatchAny(r.Events, event))
}

// allows reports whether a client may do what the rule is for.
func (r *Rule) allows(c *channels.Context) bool {
	switch r.By {
	case "everybody":
		return true
	case "assign":
		switch value := c.Socket().Get(r.Assign).(type) {
		case string:
			return slices.Contains(r.Values, value)
		case fmt.Stringer: // a number of a token
			return slices.Contains(r.Values, value.String())
		}
	}
	return false
}

// mayPublish applies the first rule that matches an event. Without one everybody may publish.
func (o *Options) mayPublish(c *channels.Context, event string) bool {
	for i := range o.Publish {
		if r := &o.Publish[i]; r.matches(c.Topic(), event) {
			return r.allows(c)
		}
	}
	return true
}

// checkRules checks what the schema cannot say.
func checkRules(rules []Rule) error {
	for i, r := range rules {
		at := fmt.Sprintf("/publish/%d", i)
		if err := checkPatterns(at+"/topics", r.Topics); err != nil {
			return err
		}
		if err := checkPatterns(at+"/events", r.Events); err != nil {
			return err
		}
		switch named := r.Assign != "" || len(r.Values) > 0; {
		case r.By == "assign" && r.Assign == "":
			return instances.Invalid(at+"/assign", "is missing: by is %q", r.By)
		case r.By == "assign" && len(r.Values) == 0:
			return instances.Invalid(at+"/values", "is missing: by is %q", r.By)
		case r.By != "assign" && named:
			return instances.Invalid(at+"/by", "is %q, which asks no assign: make it \"assign\", or leave assign and values out", r.By)
		}
	}
	return nil
}
