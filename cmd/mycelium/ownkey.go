package main

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/mycelium-rt/mycelium/httpapi"
	"github.com/mycelium-rt/mycelium/internal/keyfile"
	"github.com/mycelium-rt/mycelium/internal/observer"
)

// ownKey is the API key that the server makes for itself if the configuration
// has none. It is new for each run, so that another process that listened on
// the port while the server was down has learned nothing useful.
type ownKey struct {
	secret string
	key    httpapi.Key
	shown  bool
	file   *keyfile.File // nil: it could not be saved
}

// keys returns the valid keys: the configuration's, or else the server's own,
// which is dropped once the configuration has some.
func (d *daemon) keys(configured []httpapi.Key) []httpapi.Key {
	if len(configured) > 0 {
		d.dropOwnKey()
		return configured
	}
	if d.own == nil {
		d.own = new(ownKey)
		d.own.secret, d.own.key = httpapi.NewKey("own", []httpapi.Scope{httpapi.Admin}, nil)
	}
	return []httpapi.Key{d.own.key}
}

// keyHint returns a hint for callers without a key how to get one.
func (d *daemon) keyHint() string {
	if d.own != nil {
		return "\"mycelium key show\" prints the current one"
	}
	return "\"mycelium key new\" makes one for the server's configuration"
}

// showOwnKey shows the server's own key to the person at the terminal and to
// commands of this user. It is never logged, because others may read logs.
func (d *daemon) showOwnKey() {
	own := d.own
	if own == nil || own.shown || !d.addr.IsValid() {
		return
	}
	own.shown = true
	var err error
	own.file, err = keyfile.Write(d.environ, d.cfg.Data, d.addr, own.secret)
	if err != nil {
		d.log.Warn().Err(err).Msg("local commands cannot find this run's API key, because it cannot be saved anywhere: " +
			"put one into the configuration, which \"mycelium key new\" makes, or switch the API off with api.enabled")
	}
	switch {
	case d.output.isTerminal:
		fmt.Fprintf(d.output, "Observer: %s%s#key=%s\n", d.url(), observer.Path, own.secret)
	case own.file != nil && filepath.Dir(own.file.Name) == filepath.Clean(d.cfg.Data): // where commands do not look
		d.log.Info().Str("file", own.file.Name).Msg("the configuration has no API key: the file has the one of this run, for MYCELIUM_KEY")
	case own.file != nil:
		d.log.Info().Str("file", own.file.Name).Msg("the configuration has no API key: \"mycelium key show\" prints the current one")
	}
}

// dropOwnKey invalidates the server's own key.
func (d *daemon) dropOwnKey() {
	if d.own == nil {
		return
	}
	if d.own.file != nil {
		if err := d.own.file.Remove(); err != nil {
			d.log.Warn().Err(err).Msg("the file of this run's API key could not be removed; the key is no longer valid")
		}
	}
	d.own = nil
}

// url returns the address at which a person on this machine reaches the server.
func (d *daemon) url() string {
	if d.cfg.API.PublicURL != "" {
		return strings.TrimSuffix(d.cfg.API.PublicURL, "/")
	}
	scheme, host := "http", d.addr.Addr().Unmap().String()
	if d.cfg.TLS.Enabled() {
		scheme = "https"
	}
	switch d.addr.Addr() {
	case netip.IPv6Unspecified(): // also serves IPv4
		host = "localhost"
	case netip.IPv4Unspecified(): // another process may have this port on localhost's IPv6 address
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(int(d.addr.Port())))
}
