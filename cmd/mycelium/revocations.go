package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/mycelium-rt/mycelium/auth"
	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/hooks"
)

// revocationsFile is the name of the file with the revoked tokens, in the directory of the
// data.
const revocationsFile = "revocations"

// openRevocations opens the revoked tokens of all instances; a space is an instance.
func (d *daemon) openRevocations() (err error) {
	o := auth.RevocationOptions{Max: d.cfg.Auth.MaxRevocations, Changed: d.closeRevoked, Failed: func(err error) {
		if !errors.Is(err, fs.ErrClosed) {
			d.log.Error().Err(err).Msg("could not store tokens that another node has revoked; after a restart this node accepts them until it has reached the others")
		}
	}}
	if d.cfg.Data != "" {
		if err := os.MkdirAll(d.cfg.Data, 0o700); err != nil {
			return err
		}
		o.File = filepath.Join(d.cfg.Data, revocationsFile)
	}
	d.revocations, err = auth.OpenRevocations(o)
	return err
}

// closeRevoked closes the sockets of this node whose tokens were revoked, or whose users back ends have named before they
// were.
func (d *daemon) closeRevoked(ids []string) {
	for _, id := range ids {
		if m := d.manager.Load(); m != nil {
			m.CloseIf(id, auth.CloseRevoked, "revoked", func(s *channels.Socket) bool { return auth.Revoked(s) || hooks.Revoked(s) })
		}
	}
}
