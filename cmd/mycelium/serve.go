package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/auth"
	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/httpapi"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/internal/config"
	"github.com/mycelium-rt/mycelium/internal/events"
	"github.com/mycelium-rt/mycelium/internal/logging"
	"github.com/mycelium-rt/mycelium/internal/metrics"
	"github.com/mycelium-rt/mycelium/internal/observer"
)

// daemon is what "mycelium serve" runs. It belongs to the goroutine of serve,
// except for fields with their own synchronization.
type daemon struct {
	args, environ  []string // from which the configuration is loaded again
	cfg            *config.Config
	output         *logOutput
	level          *logging.Level
	log            zerolog.Logger
	tls            tlsSwitch
	renewal        renewal
	endpoint       *channels.Endpoint
	sockets        atomic.Pointer[channels.SocketOptions] // for all instances
	auth           atomic.Pointer[auth.Options]           // for all instances that have none of their own; nil: they need no token
	privateJWKS    atomic.Bool                            // the auth of instances may have jwks in private networks
	privateHooks   atomic.Bool                            // the hooks of instances may be in private networks
	verifiers      verifiers
	deciders       deciders
	told           toldFigures
	realtimeTokens realtimeTokens
	store          instances.Store
	events         *events.Events // what happens in instances, and who is told
	cluster        *clusterNode   // nil: this is a single node
	instances      *instances.Manager
	manager        atomic.Pointer[instances.Manager] // instances, for other goroutines
	revocations    *auth.Revocations                 // of all instances
	history        *history.Store                    // what instances record
	durable        *durableHistory                   // nil: rules cannot be durable
	api            atomic.Pointer[httpapi.API]       // nil: there is none
	observer       *observer.Observer                // static after the port is open; nil: there is no API
	own            *ownKey                           // the API's; nil: the configuration has keys
	addr           netip.AddrPort                    // of the main port, after it is open
	metrics        *metrics.Handler
	listening      atomic.Bool // the server takes clients; any goroutine
	stopping       atomic.Bool // it has been told to stop; any goroutine
}

const serveUsage = `mycelium serve runs the server.

Usage:

  mycelium [serve] [flags]

Flags:

`

// serve runs the server until ctx is done. SIGHUP reloads its configuration, or
// ends it if the terminal was closed.
func serve(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	output := openOutput(stderr)
	defer output.close()
	first, code := loadChecked(args, environ, serveUsage+config.Help(), stdout, output)
	if first == nil {
		return code
	}
	d := &daemon{args: args, environ: environ, cfg: first.cfg, output: output, level: new(logging.Level)}
	if err := d.openLog(d.cfg.Log); err != nil {
		fmt.Fprintln(output, "mycelium:", err)
		return 2
	}
	if err := d.run(ctx, first, hangup); err != nil {
		d.log.Error().Err(err).Msg("stopped")
		return 1
	}
	d.log.Info().Msg("stopped")
	return 0
}

// run serves the default instance and the page, and drains when ctx is done.
func (d *daemon) run(ctx context.Context, first *loaded, hangup <-chan os.Signal) error {
	for _, w := range d.cfg.Warnings {
		d.log.Warn().Msg(w)
	}
	if err := d.open(first); err != nil {
		return err
	}
	stopMetrics, err := d.listenForMetrics()
	if err != nil {
		return errors.Join(err, d.close())
	}
	err = d.listen(ctx, first, hangup)
	return errors.Join(err, stopMetrics())
}

// listen serves the main port until ctx is done, and drains.
func (d *daemon) listen(ctx context.Context, first *loaded, hangup <-chan os.Signal) error {
	err := d.openInstances(ctx, first)
	var addr net.Addr
	if err == nil {
		err = d.serveForwarded()
	}
	if err == nil {
		err = d.tls.authority.listen(d.cfg.TLS.ACMEListen)
	}
	if err == nil {
		addr, err = d.endpoint.Listen(d.cfg.Listen)
		err = inUse(err, "listen")
	}
	if err == nil {
		err = d.listenForTCP()
	}
	if err != nil {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			err = nil // it has been told to stop
		}
		return errors.Join(err, d.close())
	}
	d.listening.Store(true)
	if d.addr, err = netip.ParseAddrPort(addr.String()); err == nil {
		d.showOwnKey()
	}
	d.log.Info().Stringer("addr", addr).Str("socket", d.cfg.Path).Str("version", version()).Msg("listening")
	d.tls.authority.begin()
	d.renewal.watch(&d.cfg.TLS, first.tls.stamps)
	return d.untilDone(ctx, hangup)
}

// untilDone reloads the configuration and the TLS files when they change, until it is time to drain.
func (d *daemon) untilDone(ctx context.Context, hangup <-chan os.Signal) error {
	var read reading
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-look.C:
			read.begin(d.readRenewed)
		case <-hangup:
			if d.output.terminalClosed() {
				return d.drain()
			}
			if !read.begin(d.readAgain) {
				d.log.Warn().Msg("the reload waits for files that are being read")
				read.next = d.readAgain
			}
		case apply := <-read.done:
			read.end(apply)
		case <-ctx.Done():
			return d.drain()
		case err := <-d.cluster.leftCluster():
			return errors.Join(err, d.drain())
		}
	}
}

// listenForTCP serves raw TCP if the configuration has an address for it.
func (d *daemon) listenForTCP() error {
	if d.cfg.TCPListen == "" {
		return nil
	}
	addr, err := d.endpoint.ListenTCP(d.cfg.TCPListen)
	if err != nil {
		return inUse(err, "tcp_listen")
	}
	d.log.Info().Stringer("addr", addr).Msg("listening for raw TCP")
	return nil
}

// inUse adds advice to an error if another process listens on the address of an
// option.
func inUse(err error, option string) error {
	if !errors.Is(err, syscall.EADDRINUSE) {
		return err
	}
	return fmt.Errorf("%w: another process, maybe another mycelium, has this address: stop it or change the option %s", err, option)
}

func (d *daemon) drain() error {
	d.stopping.Store(true)
	delay := d.cfg.Drain.Delay
	if delay > 0 {
		d.log.Info().Stringer("delay", delay).Msg("no longer ready")
	}
	time.Sleep(max(delay, d.cluster.startDrain()))
	d.log.Info().Int64("sockets", d.endpoint.Stats().Sockets).Msg("draining")
	d.history.Sessions().HandOver()
	return d.close()
}

// lastWords is how long what drain.timeout has cut off has to end, and to log
// what it was doing.
const lastWords = time.Second

var errStillBusy = errors.New("drain.timeout has passed; callbacks that still run end with the process")

// close ends what open has started, within drain.timeout. What does not end in
// time ends with the process.
func (d *daemon) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), d.cfg.Drain.Timeout)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- d.closeAll(ctx) }()
	select {
	case err := <-closed:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-closed:
		return err
	case <-time.After(lastWords):
		return errStillBusy
	}
}

// closeAll drains the instances and then the rest of the endpoint. Only then
// does it close the store, because a type may save while it stops, and leave
// the cluster, because the other nodes are told who has gone.
func (d *daemon) closeAll(ctx context.Context) error {
	d.dropOwnKey()
	var err error
	if d.observer != nil {
		err = d.observer.Close(ctx)
	}
	return errors.Join(err, d.tls.authority.close(ctx), d.instances.Close(ctx), d.closeEvents(ctx), d.endpoint.Shutdown(ctx), d.durable.close(ctx), d.saveHistory(), d.store.Close(), d.cluster.leave(), d.revocations.Close(), d.closeAPI())
}

// open makes the endpoint and what it serves.
func (d *daemon) open(first *loaded) (err error) {
	d.tls.authority = newAuthority(d.cfg, &first.tls, logging.NewLog(&d.log))
	d.tls.set(&first.tls)
	d.auth.Store(first.tokens)
	d.metrics = metrics.NewHandler(watched{d}, version())
	d.metrics.SetAccess(d.access(d.cfg.Metrics))
	o := endpointOptions(d.cfg)
	o.Logger, o.Handler, o.TLS = &d.log, withAPI{d, d.cfg.Path, d.mux()}, d.tls.config()
	o.DrainingNodes = func() int { return d.cluster.draining() }
	if d.endpoint, err = channels.NewEndpoint(o); err != nil {
		return err
	}
	if d.store, err = openStore(d.cfg); err != nil {
		return errors.Join(err, d.endpoint.Shutdown(context.Background())) // it has no clients
	}
	d.history = newHistory(d.cfg, first.cluster.secret)
	if err := d.openRevocations(); err != nil {
		return errors.Join(err, d.endpoint.Shutdown(context.Background()), d.store.Close())
	}
	if err := d.join(first.cluster); err != nil {
		return errors.Join(err, d.endpoint.Shutdown(context.Background()), d.store.Close(), d.revocations.Close())
	}
	if !d.cfg.Cluster.Enabled() {
		d.openDurable(nil)
	}
	d.events = d.newEvents()
	d.instances = d.newManager()
	d.manager.Store(d.instances)
	return nil
}

// endpointOptions returns the options of the endpoint for a configuration.
func endpointOptions(cfg *config.Config) channels.Options {
	pace := cfg.Drain
	return channels.Options{
		TrustedProxies: cfg.Proxies(), ClearText: clearTexts[cfg.TLS.Clear], Loops: cfg.Loops, IOUring: ioUrings[cfg.IOUring],
		Limits: cfg.Limits.Limits, SlowReceiver: slowReceivers[cfg.Limits.SlowReceiver],
		Drain: channels.Drain{Batch: pace.Batch, Interval: pace.Interval, Timeout: pace.Timeout, NoCloseFrame: !pace.CloseFrame},
	}
}

// ioUrings maps names in the configuration to policies.
var ioUrings = map[string]channels.IOUring{
	"auto": channels.IOUringAuto,
	"on":   channels.IOUringOn,
	"off":  channels.IOUringOff,
}

// clearTexts maps names in the configuration to policies.
var clearTexts = map[string]channels.ClearText{
	"redirect": channels.ClearTextRedirect,
	"refuse":   channels.ClearTextRefuse,
	"allow":    channels.ClearTextAllow,
}

// slowReceivers maps names in the configuration to policies.
var slowReceivers = map[string]channels.SlowReceiver{
	"disconnect":  channels.DisconnectSlow,
	"drop_oldest": channels.DropOldest,
	"drop_newest": channels.DropNewest,
}

func originCheck(c config.CheckOrigin) channels.OriginCheck {
	switch c.Mode {
	case config.OriginOff:
		return channels.AnyOrigin
	case config.OriginList:
		return channels.Origins(c.Origins...)
	case config.OriginConn:
		return channels.SameOrigin
	}
	return channels.SameHost
}

// originHelp returns the explanation for a refused page which pages are
// allowed.
func originHelp(c config.CheckOrigin) string {
	allowed := map[config.OriginMode]string{
		config.OriginHost: "pages from the host that they connect to, from any port",
		config.OriginConn: "pages from the host and port that they connect to",
		config.OriginList: strings.Join(c.Origins, ", "),
	}[c.Mode]
	return "Allowed: " + allowed + ". The option check_origin (--check-origin, MYCELIUM_CHECK_ORIGIN) allows others."
}
