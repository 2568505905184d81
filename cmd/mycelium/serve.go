package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/config"
	"github.com/mycelium-rt/mycelium/internal/logging"
	"github.com/mycelium-rt/mycelium/internal/relay"
	"github.com/mycelium-rt/mycelium/internal/site"
)

// serve runs the server until ctx is done.
func serve(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	cfg, err := config.Load(args, environ)
	if errors.Is(err, config.ErrHelp) {
		fmt.Fprint(stdout, config.Help())
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "mycelium:", err)
		return 2
	}
	file, isFile := stderr.(*os.File)
	log, err := logging.New(stderr, cfg.Log.Level, cfg.Log.Format, isFile && logging.IsTerminal(file))
	if err != nil {
		fmt.Fprintln(stderr, "mycelium:", err)
		return 2
	}
	if err := listenAndServe(ctx, cfg, log); err != nil {
		log.Error().Err(err).Msg("stopped")
		return 1
	}
	log.Info().Msg("stopped")
	return 0
}

// listenAndServe serves the default instance and the page, and drains when
// ctx is done.
func listenAndServe(ctx context.Context, cfg *config.Config, log zerolog.Logger) error {
	options, err := endpointOptions(cfg, &log)
	if err != nil {
		return err
	}
	endpoint, err := channels.NewEndpoint(options)
	if err != nil {
		return err
	}
	r := relay.New(endpoint, relay.Options{
		Topics: cfg.Topics,
		Window: cfg.Presence.Window, PresenceOff: cfg.Presence.Off, DiffsOff: cfg.Presence.DiffsOff,
	})
	defer r.Close()
	endpoint.Socket(cfg.Path, channels.SocketOptions{
		Connect: r.Connect, ConnectOnLoop: true, CheckOrigin: originCheck(cfg.CheckOrigin), IdleTimeout: cfg.IdleTimeout,
		Compress: cfg.Compress, LongPoll: channels.LongPollOptions{Enabled: cfg.LongPoll},
	}, r.Channels()...)
	addr, err := endpoint.Listen(cfg.Listen)
	if err != nil {
		return errors.Join(err, endpoint.Shutdown(context.WithoutCancel(ctx)))
	}
	log.Info().Stringer("addr", addr).Str("socket", cfg.Path).Str("version", version()).Msg("listening")
	<-ctx.Done()
	log.Info().Int64("sockets", endpoint.Stats().Sockets).Msg("draining")
	down, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.Drain.Timeout)
	defer cancel()
	return endpoint.Shutdown(down)
}

func endpointOptions(cfg *config.Config, log *zerolog.Logger) (channels.Options, error) {
	l := cfg.Limits
	o := channels.Options{
		Logger:  log,
		Handler: site.Handler(),
		Loops:   cfg.Loops,
		Limits: channels.Limits{
			MessageBytes: l.MaxMessage, ChannelsPerSocket: l.MaxChannels, OutboundBytes: l.OutboundBytes,
			HeaderBytes: l.HeaderBytes, HandshakeTimeout: l.HandshakeTimeout, HandshakesPerSecond: l.HandshakesPerSecond,
			MaxConnections: l.MaxConnections, MaxConnectionsPerAddress: l.MaxConnectionsPerAddress,
			JoinsPerSecond: l.JoinsPerSecond, MessagesPerSecond: l.MessagesPerSecond,
		},
		SlowReceiver: slowReceivers[l.SlowReceiver],
		Drain: channels.Drain{
			Batch: cfg.Drain.Batch, Interval: cfg.Drain.Interval, Timeout: cfg.Drain.Timeout,
			NoCloseFrame: !cfg.Drain.CloseFrame,
		},
	}
	if cfg.TLS.Enabled() {
		pair, err := tls.LoadX509KeyPair(cfg.TLS.Cert, cfg.TLS.Key)
		if err != nil {
			return o, fmt.Errorf("tls.cert and tls.key: %w", err)
		}
		o.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	}
	return o, nil
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
	}
	return channels.SameOrigin
}
