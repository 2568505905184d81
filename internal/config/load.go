package config

import (
	"fmt"
	"reflect"
	"strings"
)

// delimiter stands between the section and the name in a key.
const delimiter = "."

// words are the values of one layer as they were written, by the keys of their
// options: one word, or any number for an option that takes a list.
type words map[string][]string

// loader collects one configuration and what is wrong with it.
type loader struct {
	config   *Config
	problems []string
	// origins has where the value of each option came from; options with their
	// default are not in it. bad has the options with a value that was refused.
	origins map[string]string
	bad     map[string]bool
}

// Load reads the configuration from the arguments after the subcommand
// (without the program's name) and from environ, which is as os.Environ gives
// it. The error is ErrHelp or an *Error with all problems at once. A value is
// checked even if another one overrides it.
func Load(args, environ []string) (*Config, error) {
	l := &loader{config: new(Config), origins: map[string]string{}, bad: map[string]bool{}}
	flags, err := l.readFlags(args)
	if err != nil {
		return nil, err
	}
	variables := l.readEnv(environ)
	defaults := words{}
	for _, o := range options {
		defaults[o.key] = o.words(o.def)
	}
	l.merge(defaults, nil)
	if name, origin := fileName(flags, variables); origin != "" {
		l.config.File = name
		if values, f := l.readFile(name, origin); f != nil {
			l.merge(values, f.origin)
		}
	}
	l.merge(variables, envOrigin)
	l.merge(flags, flagOrigin)
	return l.finish()
}

// fileName returns the file to read and where its name came from.
func fileName(flags, variables words) (name, origin string) {
	if w := flags[fileOption.key]; w != nil {
		return w[0], flagOrigin(fileOption)
	}
	if w := variables[fileOption.key]; w != nil {
		return w[0], envOrigin(fileOption)
	}
	return "", ""
}

// merge sets the values of one layer, over those before. The words of the defaults
// are valid, which a test ensures, and have no origin.
func (l *loader) merge(layer words, origin func(*option) string) {
	for _, o := range options {
		w, ok := layer[o.key]
		if !ok {
			continue
		}
		value, wrong := o.kind.parse(w)
		if wrong == "" && origin != nil && o.guards && strings.Join(w, "") == "" {
			wrong = "is empty: leave it out, or give it a value"
		}
		if wrong != "" {
			l.problems = append(l.problems, badValue(o, w, origin(o), wrong))
			l.bad[o.key] = true
			continue
		}
		l.config.field(o).Set(reflect.ValueOf(value))
		if origin != nil {
			l.origins[o.key] = origin(o)
		}
	}
}

func (l *loader) finish() (*Config, error) {
	c := l.config
	if len(l.origins) > 0 {
		c.origins = l.origins
	}
	l.checkTogether(c)
	if len(l.problems) > 0 {
		c.refused = l.bad
		return nil, &Error{Problems: l.problems, Partial: c}
	}
	c.Warnings = c.warnings()
	return c, nil
}

// field returns the field of c for the value of an option: that of cluster.nats_url is
// Cluster.NATSURL. It panics if the program has no such field.
func (c *Config) field(o *option) reflect.Value {
	field := reflect.ValueOf(c).Elem()
	for name := range strings.SplitSeq(o.key, delimiter) {
		field = field.FieldByNameFunc(func(goName string) bool { return isNameOf(goName, name) })
		if !field.IsValid() {
			panic(fmt.Sprintf("config: the table has the option %s, and Config has no field of that name", o.key))
		}
	}
	return field
}

// isNameOf reports whether a field of a struct has the name of a key, in Go's form:
// MaxMessage is max_message, and IOUring io_uring.
func isNameOf(goName, name string) bool {
	return strings.EqualFold(goName, strings.ReplaceAll(name, "_", ""))
}

// envelopeBytes is the most that a message grows by when it is relayed: a frame head
// of 10 bytes and the null refs.
const envelopeBytes = 64

// checkTogether reports options that are valid but do not fit together.
func (l *loader) checkTogether(c *Config) {
	l.checkTLS(c)
	if c.Auth.Secret != "" && c.Auth.PublicKeyFile != "" {
		l.problem("auth.secret (from %s) and auth.public_key_file (from %s) are both set; set one of them, for the algorithm in auth.algorithm",
			l.origins["auth.secret"], l.origins["auth.public_key_file"])
	}
	if c.Metrics.Listen == "" && len(c.Metrics.Allow) > 0 && !l.bad["metrics.listen"] {
		l.problem("metrics.allow is set (from %s) and metrics.listen is not; on the main port, where proxies connect for everybody, "+
			"an address allows nothing: set metrics.listen, for example --metrics-listen=127.0.0.1:9090, or metrics.token", l.origins["metrics.allow"])
	}
	if 2*c.Events.Kept > c.Events.Outbox && !l.bad["events.kept"] && !l.bad["events.outbox"] {
		l.problem("events.kept is %d, which is more than half of events.outbox, %d: events that wait would be dropped for events that are only kept; "+
			"it takes at most %d here, or a larger events.outbox", c.Events.Kept, c.Events.Outbox, c.Events.Outbox/2)
	}
	l.checkAuth(c)
	l.checkCluster(c)
	l.checkPorts(c, "tcp_listen", c.TCPListen)
	if samePort(c.Metrics.Listen, c.Listen) && !l.bad["listen"] && !l.bad["metrics.listen"] {
		l.problem("%s is %s, and listen is %s; it takes a port of its own, or none for /metrics on the main port", c.Name("metrics.listen"), c.Metrics.Listen, c.Listen)
	}
	if l.bad["limits.outbound_bytes"] || l.bad["limits.max_message"] {
		return
	}
	if least := c.Limits.MaxMessage + envelopeBytes; c.Limits.OutboundBytes < least {
		l.problem("limits.outbound_bytes is %d and cannot hold a message of limits.max_message, which is %d; "+
			"it takes at least %d here, or a smaller limits.max_message",
			c.Limits.OutboundBytes, c.Limits.MaxMessage, least)
	}
}

// checkAuth reports options about tokens if clients need none.
func (l *loader) checkAuth(c *Config) {
	if c.Auth.Enabled() {
		return
	}
	for _, o := range inSection("auth") {
		if l.bad[o.key] {
			return
		}
		byDefault, _ := o.kind.parse(o.words(o.def))
		if origin, set := l.origins[o.key]; set && !reflect.DeepEqual(c.field(o).Interface(), byDefault) {
			l.problem("%s is set (from %s) and clients need no token, so it has no effect; "+
				"auth.secret, auth.public_key_file, auth.jwks or auth.phoenix_secret makes them need one, for example in MYCELIUM_AUTH_SECRET",
				o.key, origin)
		}
	}
}

func (l *loader) problem(format string, args ...any) {
	l.problems = append(l.problems, fmt.Sprintf(format, args...))
}

// withFileOption returns the options that flags and variables can set.
func withFileOption() []*option { return append([]*option{fileOption}, options...) }
