package main

import (
	"errors"
	"os"
	"slices"
	"time"

	"github.com/mycelium-rt/mycelium/internal/config"
)

// lookEvery is how often the TLS files are checked for changes.
const lookEvery = time.Second

// renewal notices that a tool which does not send SIGHUP has replaced TLS files. It belongs to
// the goroutine of serve, and while files are being read to that of [reading].
type renewal struct {
	files *config.TLS
	used  []stamp // of the files as they were read
	last  []stamp // of the last check
}

// stamp is what changes when a file is replaced. The zero value means that there is no file.
type stamp struct {
	modified time.Time
	size     int64
}

// stampsOf returns the stamps of the TLS files.
func stampsOf(t *config.TLS) (stamps []stamp) {
	for _, file := range []string{t.Cert, t.Key, t.ClientCA} {
		var s stamp
		if info, err := os.Stat(file); err == nil {
			s = stamp{info.ModTime(), info.Size()}
		}
		stamps = append(stamps, s)
	}
	return stamps
}

// watch begins to watch the files of a configuration. read are their stamps from before they
// were read.
func (r *renewal) watch(t *config.TLS, read []stamp) { r.files, r.used, r.last = t, read, read }

// due reports whether the files have changed since they were read, but not since the last
// call: a tool replaces them one after the other.
func (r *renewal) due() bool {
	stamps := stampsOf(r.files)
	settled := slices.Equal(stamps, r.last)
	r.last = stamps
	if !settled || slices.Equal(stamps, r.used) {
		return false
	}
	r.used = stamps
	return true
}

// readRenewed reads the TLS files if they have changed. If one of them is invalid, the previous
// ones stay in use.
func (d *daemon) readRenewed() (then func()) {
	if !d.renewal.due() {
		return func() {}
	}
	cfg := *d.cfg
	cfg.Warnings = nil
	c := &checker{cfg: &cfg}
	files := c.tlsFiles()
	var wrong *config.Error
	if errors.As(c.err(), &wrong) {
		return func() {
			d.log.Error().Strs("problems", wrong.Problems).Msg("the TLS files have changed but are not valid; the previous ones stay in use")
		}
	}
	return func() { d.renewTLS(&files, cfg.Warnings) }
}

// renewTLS uses new TLS files.
func (d *daemon) renewTLS(files *tlsFiles, warnings []string) {
	for _, w := range warnings {
		d.log.Warn().Msg(w)
	}
	d.tls.set(files)
	event := d.log.Info()
	if files.certificate != nil {
		event.Time("expires", files.certificate.Leaf.NotAfter)
	}
	event.Msg("TLS files reloaded")
}
