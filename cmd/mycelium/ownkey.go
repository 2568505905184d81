package main

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/mycelium-rt/mycelium/httpapi"
	"github.com/mycelium-rt/mycelium/internal/keyfile"
	"github.com/mycelium-rt/mycelium/internal/observer"
)

// ownKey is the API key that the server makes for itself where the
// configuration has none. It is a new one for each run: whoever listened on the
// port while the server was down has learned nothing.
type ownKey struct {
	secret string
	key    httpapi.Key
	shown  bool
	file   *keyfile.File // nil: it is kept nowhere
}

// keys are those that count: the configuration's, or else the server's own,
// which is forgotten once the configuration has some.
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

// keyHint tells callers without a key how to get one.
func (d *daemon) keyHint() string {
	if d.own != nil {
		return "\"mycelium key show\" prints the current one"
	}
	return "\"mycelium key new\" makes one for the server's configuration"
}

// showOwnKey tells the person at the terminal, and the commands of this user,
// the server's own key. It is in no log: others read those.
func (d *daemon) showOwnKey() {
	own := d.own
	if own == nil || own.shown || !d.addr.IsValid() {
		return
	}
	own.shown = true
	var err error
	own.file, err = keyfile.Write(d.environ, d.cfg.Data, d.addr, own.secret)
	if err != nil {
		d.log.Warn().Err(err).Msg("local commands do not find the API key of this run, which can be kept nowhere: " +
			"put one into the configuration, which \"mycelium key new\" makes, or switch the API off with api.enabled")
	}
	switch {
	case d.output.isTerminal:
		fmt.Fprintf(d.output, "Observer: %s%s#key=%s\n", d.url(), observer.Path, own.secret)
	case own.file != nil:
		d.log.Info().Str("file", own.file.Name).Msg("the configuration has no API key: \"mycelium key show\" prints the current one")
	}
}

// dropOwnKey forgets the server's own key.
func (d *daemon) dropOwnKey() {
	if d.own == nil {
		return
	}
	if d.own.file != nil {
		if err := d.own.file.Remove(); err != nil {
			d.log.Warn().Err(err).Msg("the file of the API key of this run is still there; the key does not count any more")
		}
	}
	d.own = nil
}

// url is where a person on this machine reaches the server.
func (d *daemon) url() string {
	if d.cfg.API.PublicURL != "" {
		return strings.TrimSuffix(d.cfg.API.PublicURL, "/")
	}
	scheme, host := "http", d.addr.Addr().Unmap().String()
	if d.cfg.TLS.Enabled() {
		scheme = "https"
	}
	switch d.addr.Addr() {
	case netip.IPv6Unspecified(): // and IPv4 too
		host = "localhost"
	case netip.IPv4Unspecified(): // somebody else may have the port of localhost's other address
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(int(d.addr.Port())))
}
