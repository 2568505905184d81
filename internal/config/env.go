package config

import (
	"regexp"
	"slices"
	"strings"
)

// serviceLink matches variables that Kubernetes and Docker set for a service whose
// name begins with mycelium; they are not options. MYCELIUM_PORT is another, if its
// value is an address.
var (
	serviceLink = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)
	servicePort = regexp.MustCompile(`_PORT=(tcp|udp|sctp)://`)
)

// clientVariables belong to the commands that speak to a server.
var clientVariables = []string{"MYCELIUM_SERVER", "MYCELIUM_KEY"}

// readEnv returns the words of the variables in environ by option. An empty variable
// counts as unset, except for options that guard something.
func (l *loader) readEnv(environ []string) words {
	byName := map[string]*option{}
	for _, o := range withFileOption() {
		byName[o.env()] = o
	}
	values := words{}
	var unknown []string
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		o := byName[name]
		switch {
		case !strings.HasPrefix(name, envPrefix):
		case o == nil && !slices.Contains(clientVariables, name) && !serviceLink.MatchString(name) && !servicePort.MatchString(variable):
			unknown = append(unknown, name)
		case o != nil && (value != "" || o.guards):
			values[o.key] = o.words(value)
		}
	}
	slices.Sort(unknown)
	for _, name := range slices.Compact(unknown) {
		l.unknownEnv(name)
	}
	return values
}

func (l *loader) unknownEnv(name string) {
	if o := nearest(name[len(envPrefix):], withFileOption()); o != nil {
		l.problem("unknown environment variable %s; did you mean %s?", name, o.env())
		return
	}
	l.problem("unknown environment variable %s; %s lists the options", name, helpCommand)
}

func envOrigin(o *option) string { return "environment variable " + o.env() }
