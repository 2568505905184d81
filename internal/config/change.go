package config

import "reflect"

// Change has the keys of what differs between two configurations, in the order of the
// table, lists of objects last.
type Change struct {
	// Live are options whose new values take effect at once.
	Live []string
	// Restart are options whose new values take effect after a restart.
	Restart []string
}

// Reloaded returns the configuration for a server that runs with c and has loaded next:
// next, with the values of c for options that need a restart. Switching TLS on or off,
// or between files and ACME, needs a restart; changing its files does not. The error is an *Error if old and new
// values do not fit together.
func (c *Config) Reloaded(next *Config) (*Config, Change, error) {
	result := *next
	var change Change
	for _, o := range options {
		before, after := c.field(o), result.field(o)
		switch {
		case reflect.DeepEqual(before.Interface(), after.Interface()):
		case !o.live, o.section() == "tls" && (c.TLS.Enabled() != next.TLS.Enabled() || c.TLS.ACME() != next.TLS.ACME()):
			change.Restart = append(change.Restart, o.key)
			after.Set(before)
		default:
			change.Live = append(change.Live, o.key)
		}
	}
	if !reflect.DeepEqual(c.APIKeys, next.APIKeys) {
		change.Live = append(change.Live, "api.keys")
	}
	if !reflect.DeepEqual(c.HistoryRules, next.HistoryRules) {
		change.Live = append(change.Live, "history.rules")
	}
	if !reflect.DeepEqual(c.Hooks, next.Hooks) {
		change.Live = append(change.Live, "hooks")
	}
	if !reflect.DeepEqual(c.Instances, next.Instances) {
		change.Live = append(change.Live, "instances")
	}
	l := &loader{origins: next.origins}
	l.checkTogether(&result)
	if len(l.problems) == 0 {
		return &result, change, nil
	}
	for _, key := range change.Restart {
		l.problem("%s changes with a restart only; until then it is the old value that counts", key)
	}
	return nil, change, &Error{Problems: l.problems}
}
