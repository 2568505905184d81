package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/mycelium-rt/mycelium/auth"
	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/fielderr"
	"github.com/mycelium-rt/mycelium/httpapi"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/instances/boltstore"
	"github.com/mycelium-rt/mycelium/instances/realtime"
	"github.com/mycelium-rt/mycelium/internal/bind"
	"github.com/mycelium-rt/mycelium/internal/config"
	"github.com/mycelium-rt/mycelium/internal/strictjson"
)

// loaded is a configuration and what is made from it before it takes effect.
type loaded struct {
	cfg      *config.Config
	tls      tlsFiles
	tokens   *auth.Options
	keys     []httpapi.Key
	declared []declaredSpec
	cluster  clusterFiles
}

// declaredSpec is an instance of the configuration.
type declaredSpec struct {
	instances.Spec
	index int // in the list of the configuration; -1: the default instance
}

func (l *loaded) specs() []instances.Spec {
	specs := make([]instances.Spec, len(l.declared))
	for i, d := range l.declared {
		specs[i] = d.Spec
	}
	return specs
}

// checker collects the errors of a configuration, each with the place where it
// was written. It starts nothing.
type checker struct {
	cfg      *config.Config
	problems []string
}

func (c *checker) add(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

// warn adds a warning about something that is allowed but rarely intended.
func (c *checker) warn(format string, args ...any) {
	c.cfg.Warnings = append(c.cfg.Warnings, fmt.Sprintf(format, args...))
}

// err returns a [*config.Error], or nil if nothing is wrong.
func (c *checker) err() error {
	if len(c.problems) == 0 {
		return nil
	}
	return &config.Error{Problems: c.problems}
}

// checkAlone reports what serve would fail on with a configuration, and returns
// what serve needs from it.
func checkAlone(cfg *config.Config) (*loaded, error) {
	c := &checker{cfg: cfg}
	l := c.prepare()
	c.checkInstances(l)
	c.checkMachine()
	return l, c.err()
}

// checkRest reports further errors of a configuration in which Load has found
// errors, except those that may follow from them.
func checkRest(partial *config.Config) []string {
	c := &checker{cfg: partial}
	l := c.prepare()
	if !partial.Refused("limits.", "topics", "presence.") {
		c.checkInstances(l)
	}
	c.checkMachine()
	return c.problems
}

// prepare makes everything that a configuration asks for, except its instances.
func (c *checker) prepare() *loaded {
	l := &loaded{cfg: c.cfg}
	if !c.cfg.Refused("tls.") {
		l.tls = c.tlsFiles()
	}
	if !c.cfg.Refused("auth.") {
		l.tokens = c.auth()
	}
	if !c.cfg.Refused("cluster.") {
		l.cluster = c.cluster()
	}
	l.keys = c.keys()
	c.history()
	c.hooks()
	l.declared = c.declared()
	return l
}

// withoutPath returns an error without its path, which the message already
// contains.
func withoutPath(err error) error {
	var wrong *fs.PathError
	if errors.As(err, &wrong) {
		return wrong.Err
	}
	return err
}

func (c *checker) auth() *auth.Options {
	o, err := authOptions(c.cfg.Auth)
	var wrong fielderr.List
	switch {
	case errors.As(err, &wrong):
		for _, f := range wrong {
			key, below := optionOf(f.Field)
			c.add("%s: the value%s %s", c.cfg.Name(key), below, f.Reason)
		}
	case err != nil:
		c.add("%s: %v", c.cfg.Name("auth.public_key_file"), err)
	}
	return o
}

func (c *checker) keys() []httpapi.Key {
	keys := make([]httpapi.Key, len(c.cfg.APIKeys))
	for i, text := range c.cfg.APIKeys {
		if text == nil {
			continue // not an object: an error of Load
		}
		err := strictjson.Decode(text, &keys[i])
		if err == nil {
			err = keys[i].Validate()
		}
		if err != nil {
			c.addElement("api.keys", i, err)
		}
	}
	return keys
}

// history checks the rules of the default instance.
func (c *checker) history() {
	for i, text := range c.cfg.HistoryRules {
		if text == nil {
			continue // not an object: an error of Load
		}
		var r instances.HistoryRule
		err := strictjson.Decode(text, &r)
		if err == nil {
			err = r.Check()
		}
		if why := notDurable(c.cfg); err == nil && r.Durable && why != "" {
			err = fielderr.New("/durable", "is true, and %s", why)
		}
		if err != nil {
			c.addElement("history.rules", i, err)
		}
	}
}

// addElement adds what is wrong with an element of a list.
func (c *checker) addElement(list string, i int, err error) {
	var wrong fielderr.List
	if !errors.As(err, &wrong) {
		c.add("%s: %v", c.cfg.Place(list, i, ""), err)
	}
	for _, f := range wrong {
		c.add("%s %s", c.cfg.Place(list, i, f.Field), f.Reason)
	}
}

// declared returns the instances of the configuration that can be decoded, the
// default one first.
func (c *checker) declared() []declaredSpec {
	specs := []declaredSpec{{defaultSpec(c.cfg), -1}}
	seen := map[string]int{}
	for i, text := range c.cfg.Instances {
		if text == nil {
			continue // not an object: an error of Load
		}
		var spec instances.Spec
		if err := strictjson.Decode(text, &spec); err != nil {
			c.addElement("instances", i, err)
			continue
		}
		before, again := seen[spec.ID]
		switch {
		case spec.ID == "":
			c.add("%s: id is needed: clients connect at %s/ID", c.cfg.Place("instances", i, ""), c.cfg.Path)
			continue
		case spec.ID == defaultInstance:
			c.add("%s: %q is the instance that topics, presence and auth describe: choose another id", c.cfg.Place("instances", i, "/id"), spec.ID)
			continue
		case again:
			c.add("%s: instances[%d] is %q already: choose another id", c.cfg.Place("instances", i, "/id"), before, spec.ID)
			continue
		}
		seen[spec.ID] = i
		specs = append(specs, declaredSpec{spec, i})
	}
	return specs
}

// checkInstances checks the instances on a server without clients.
func (c *checker) checkInstances(l *loaded) {
	o := endpointOptions(c.cfg)
	o.Loops = 1
	endpoint, err := channels.NewEndpoint(o)
	if err != nil {
		c.add("%v", err)
		return
	}
	m := instances.New(endpoint, instances.Options{
		Limits: instanceLimits(c.cfg.Limits.Limits), Path: c.cfg.Path, History: checkStore(c.cfg),
		Sockets: func(spec instances.Spec) (o channels.SocketOptions, release func(), err error) {
			_, err = specAuth(spec.Auth, c.cfg.API.PrivateJWKS) // without a verifier, which would fetch keys
			return o, nil, err
		},
		Wrap: func(in *instances.Instance, spec instances.Spec, so channels.SocketOptions) (channels.SocketOptions, func(), error) {
			list, err := specHooks(spec, in.Declared(), c.cfg.API.PrivateHooks)
			if err == nil {
				err = tryHooks(list)
			}
			return so, nil, err
		},
	})
	register(m, realtime.Options{})
	c.checkDeclared(m, l)
	ctx := context.Background() // nobody is connected
	if err := errors.Join(m.Close(ctx), endpoint.Shutdown(ctx)); err != nil {
		c.add("%v", err)
	}
}

// checkDeclared reports which of the configuration's instances m would refuse.
func (c *checker) checkDeclared(m *instances.Manager, l *loaded) {
	for _, spec := range l.declared {
		err := m.CheckWithin(c.cfg.Limits.Limits, spec.Spec)
		if i, getErr := m.Get(spec.ID); err == nil && getErr == nil && !i.Declared {
			err = errors.New("the API has created an instance of this id: delete it, or choose another id")
		}
		if err != nil {
			c.addInstance(spec, err)
		}
	}
}

// addInstance adds the errors of an instance, one for each field.
func (c *checker) addInstance(spec declaredSpec, err error) {
	var wrong fielderr.List
	switch {
	case spec.index < 0 && errors.As(err, &wrong) && strings.HasPrefix(wrong[0].Field, "/hooks"): // checker.hooks has the place
	case spec.index < 0:
		c.add("instance %q: %v", spec.ID, err)
	case errors.As(err, &wrong):
		for _, f := range wrong {
			c.add("%s %s (instance %q)", c.cfg.Place("instances", spec.index, f.Field), f.Reason, spec.ID)
		}
	default:
		c.add("%s: %v (instance %q)", c.cfg.Place("instances", spec.index, ""), err, spec.ID)
	}
}

// checkMachine reports what a server could not use on this machine: the
// directory, and addresses to listen on.
func (c *checker) checkMachine() {
	if err := checkData(c.cfg.Data); err != nil {
		c.add("%s: %q %v", c.cfg.Name("data"), c.cfg.Data, err)
	}
	if err := checkListen(c.cfg.Listen); err != nil {
		c.add("%s: %q %v", c.cfg.Name("listen"), c.cfg.Listen, err)
	}
	if err := checkListen(c.cfg.TCPListen); err != nil {
		c.add("%s: %q %v", c.cfg.Name("tcp_listen"), c.cfg.TCPListen, err)
	}
	if err := checkListen(c.cfg.Cluster.Listen); err != nil {
		c.add("%s: %q %v", c.cfg.Name("cluster.listen"), c.cfg.Cluster.Listen, err)
	}
	if err := checkListen(c.cfg.Cluster.ForwardListen); err != nil {
		c.add("%s: %q %v", c.cfg.Name("cluster.forward_listen"), c.cfg.Cluster.ForwardListen, err)
	}
	if err := checkListen(c.cfg.Metrics.Listen); err != nil {
		c.add("%s: %q %v", c.cfg.Name("metrics.listen"), c.cfg.Metrics.Listen, err)
	}
	if err := checkListen(c.cfg.TLS.ACMEListen); err != nil {
		c.add("%s: %q %v", c.cfg.Name("tls.acme_listen"), c.cfg.TLS.ACMEListen, err)
	}
	if dir := c.cfg.TLS.ACMECache; dir != "" {
		if err := checkData(dir); err != nil {
			c.add("%s: %q %v", c.cfg.Name("tls.acme_cache"), dir, err)
		}
	}
}

// checkData returns why instances cannot be kept in a directory, as the rest of
// a sentence that begins with its name. A server may be using the directory.
func checkData(dir string) error {
	if dir == "" {
		return nil
	}
	existing := filepath.Clean(dir)
	info, err := os.Stat(existing)
	for errors.Is(err, fs.ErrNotExist) && existing != filepath.Dir(existing) { // it is made
		existing = filepath.Dir(existing)
		info, err = os.Stat(existing)
	}
	switch {
	case err != nil:
		return fmt.Errorf("cannot be used: %w", withoutPath(err))
	case !info.IsDir() && existing == filepath.Clean(dir):
		return errors.New("is not a directory")
	case !info.IsDir():
		return fmt.Errorf("cannot be made: %s is not a directory", existing)
	}
	probe, err := os.CreateTemp(existing, ".mycelium-check-*")
	if err != nil {
		return fmt.Errorf("cannot be written: %w", withoutPath(err))
	}
	err = errors.Join(probe.Close(), os.Remove(probe.Name()))
	if err != nil {
		return fmt.Errorf("cannot be written: %w", err)
	}
	if err := boltstore.Check(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot be used: %w", err)
	}
	return nil
}

// checkListen returns why a server cannot listen on an address, as the rest of
// a sentence that begins with it. An address in use is not an error, because
// the server whose configuration is checked may be using it.
func checkListen(address string) error {
	if address == "" {
		return nil
	}
	err := bind.Check(address)
	if err == nil || errors.Is(err, syscall.EADDRINUSE) {
		return nil
	}
	var wrong *net.OpError
	if errors.As(err, &wrong) {
		err = wrong.Err
	}
	return fmt.Errorf("cannot be listened on: %w", err)
}
