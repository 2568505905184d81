package config

import "reflect"

// Change is what differs between two configurations, by keys in the order of
// the table, and what is a list of objects last.
type Change struct {
	// Live are the options that a running server has taken over.
	Live []string
	// Restart are those that it has not: they hold once it is started again.
	Restart []string
}

// Reloaded returns what a server that runs with c is to go on with when next
// was loaded: next, with the values of c where they cannot change without a
// restart. TLS is switched on and off by a restart only, its files are not. The
// error is an *Error if the two do not fit together.
func (c *Config) Reloaded(next *Config) (*Config, Change, error) {
	result := *next
	var change Change
	for _, o := range options {
		before, after := c.field(o), result.field(o)
		switch {
		case reflect.DeepEqual(before.Interface(), after.Interface()):
		case !o.live, o.section() == "tls" && c.TLS.Enabled() != next.TLS.Enabled():
			change.Restart = append(change.Restart, o.key)
			after.Set(before)
		default:
			change.Live = append(change.Live, o.key)
		}
	}
	if !reflect.DeepEqual(c.APIKeys, next.APIKeys) {
		change.Live = append(change.Live, "api.keys")
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
