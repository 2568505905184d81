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
	"github.com/mycelium-rt/mycelium/httpapi"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/internal/config"
	"github.com/mycelium-rt/mycelium/internal/logging"
	"github.com/mycelium-rt/mycelium/internal/metrics"
	"github.com/mycelium-rt/mycelium/internal/observer"
)

// daemon is what "mycelium serve" runs. It belongs to the goroutine of serve but
// for what has its own locks.
type daemon struct {
	args, environ []string // what the configuration is loaded from again
	cfg           *config.Config
	output        *logOutput
	level         *logging.Level
	log           zerolog.Logger
	certificate   certificate
	endpoint      *channels.Endpoint
	sockets       atomic.Pointer[channels.SocketOptions] // of all instances
	auth          atomic.Pointer[auth.Options]           // of all instances that have none of their own; nil: they need no token
	privateJWKS   atomic.Bool                            // instances' own auth may have jwks in private networks
	verifiers     verifiers
	store         instances.Store
	cluster       *clusterNode // nil: this is a single node
	instances     *instances.Manager
	api           atomic.Pointer[httpapi.API] // nil: there is none
	observer      *observer.Observer          // static once the port is open; nil: there is no API
	own           *ownKey                     // of the API; nil: the configuration has keys
	addr          netip.AddrPort              // of the port, once it is open
	metrics       *metrics.Handler
	stopping      atomic.Bool // told to stop; any goroutine
}

const serveUsage = `mycelium serve runs the server.

Usage:

  mycelium [serve] [flags]

Flags:

`

// serve runs the server until ctx is done. SIGHUP reloads its configuration, or
// ends it if it says that the terminal is closed.
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
		addr, err = d.endpoint.Listen(d.cfg.Listen)
		err = inUse(err, "listen")
	}
	if err != nil {
		return errors.Join(err, d.close())
	}
	if d.addr, err = netip.ParseAddrPort(addr.String()); err == nil {
		d.showOwnKey()
	}
	d.log.Info().Stringer("addr", addr).Str("socket", d.cfg.Path).Str("version", version()).Msg("listening")
	for {
		select {
		case <-hangup:
			if d.output.terminalClosed() {
				return d.drain()
			}
			d.reload()
		case <-ctx.Done():
			return d.drain()
		case err := <-d.cluster.leftCluster():
			return errors.Join(err, d.drain())
		}
	}
}

// inUse adds to an error what to do if somebody else listens at the address of
// an option.
func inUse(err error, option string) error {
	if !errors.Is(err, syscall.EADDRINUSE) {
		return err
	}
	return fmt.Errorf("%w: another process, maybe another mycelium, has this address: stop it or change the option %s", err, option)
}

func (d *daemon) drain() error {
	d.stopping.Store(true)
	if delay := d.cfg.Drain.Delay; delay > 0 {
		d.log.Info().Stringer("delay", delay).Msg("not ready any more")
		time.Sleep(delay)
	}
	d.log.Info().Int64("sockets", d.endpoint.Stats().Sockets).Msg("draining")
	return d.close()
}

// lastWords is how long those that drain.timeout has cut off have to end, and to
// say what they were doing.
const lastWords = time.Second

var errStillBusy = errors.New("not everything had ended within drain.timeout: the rest ends with the process")

// close ends what open has made, within drain.timeout. What does not end then,
// whatever holds it, is left to the end of the process.
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

// closeAll drains the instances, then what is left of the endpoint, and only then
// closes the store, because a type may save while it stops, and says goodbye to the
// other nodes, which are told who has gone.
func (d *daemon) closeAll(ctx context.Context) error {
	d.dropOwnKey()
	var err error
	if d.observer != nil {
		err = d.observer.Close(ctx)
	}
	return errors.Join(err, d.instances.Close(ctx), d.endpoint.Shutdown(ctx), d.store.Close(), d.cluster.leave())
}

// open makes the endpoint and what it serves.
func (d *daemon) open(first *loaded) (err error) {
	d.certificate.pair.Store(first.certificate)
	d.auth.Store(first.tokens)
	d.metrics = metrics.NewHandler(watched{d}, version())
	d.metrics.SetAccess(d.access(d.cfg.Metrics))
	o := endpointOptions(d.cfg)
	o.Logger, o.Handler, o.TLS = &d.log, withAPI{d, d.mux()}, d.certificate.tlsConfig()
	if d.endpoint, err = channels.NewEndpoint(o); err != nil {
		return err
	}
	if d.store, err = openStore(d.cfg.Data); err != nil {
		return errors.Join(err, d.endpoint.Shutdown(context.Background())) // it has served nobody
	}
	if err := d.join(first.cluster); err != nil {
		return errors.Join(err, d.endpoint.Shutdown(context.Background()), d.store.Close())
	}
	d.instances = d.newManager()
	return nil
}

// endpointOptions are the options of the endpoint that the configuration has.
func endpointOptions(cfg *config.Config) channels.Options {
	pace := cfg.Drain
	return channels.Options{
		TrustedProxies: cfg.Proxies(), ClearText: clearTexts[cfg.TLS.Clear], Loops: cfg.Loops, IOUring: ioUrings[cfg.IOUring],
		Limits: cfg.Limits.Limits, SlowReceiver: slowReceivers[cfg.Limits.SlowReceiver],
		Drain: channels.Drain{Batch: pace.Batch, Interval: pace.Interval, Timeout: pace.Timeout, NoCloseFrame: !pace.CloseFrame},
	}
}

// ioUrings are the ways to send by their names in the configuration.
var ioUrings = map[string]channels.IOUring{
	"auto": channels.IOUringAuto,
	"on":   channels.IOUringOn,
	"off":  channels.IOUringOff,
}

// clearTexts are the policies by their names in the configuration.
var clearTexts = map[string]channels.ClearText{
	"redirect": channels.ClearTextRedirect,
	"refuse":   channels.ClearTextRefuse,
	"allow":    channels.ClearTextAllow,
}

// slowReceivers are the policies by their names in the configuration.
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

// originHelp tells a page that was refused which pages are not.
func originHelp(c config.CheckOrigin) string {
	allowed := map[config.OriginMode]string{
		config.OriginHost: "pages from the host that they connect to, from any port",
		config.OriginConn: "pages from the host and port that they connect to",
		config.OriginList: strings.Join(c.Origins, ", "),
	}[c.Mode]
	return "Allowed: " + allowed + ". The option check_origin (--check-origin, MYCELIUM_CHECK_ORIGIN) allows others."
}
