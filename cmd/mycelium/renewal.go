package main

import (
	"errors"
	"os"
	"slices"
	"time"

	"github.com/mycelium-rt/mycelium/internal/config"
)

// lookEvery is how often the files of TLS are looked at.
const lookEvery = time.Second

// renewal notices that files of TLS have been replaced, by a tool that does not send SIGHUP. It
// belongs to the goroutine of serve.
type renewal struct {
	files *config.TLS
	used  []stamp // when they were read
	last  []stamp // when they were looked at last
}

// stamp is what changes when a file is replaced; zero: there is no file.
type stamp struct {
	modified time.Time
	size     int64
}

// stampsOf returns the stamps of the files of TLS.
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

// watch begins to look at the files of a configuration, which were read after they had these
// stamps.
func (r *renewal) watch(t *config.TLS, read []stamp) { r.files, r.used, r.last = t, read, read }

// due reports whether the files have changed since they were read, and no longer do: they are
// replaced one after the other.
func (r *renewal) due() bool {
	stamps := stampsOf(r.files)
	rests := slices.Equal(stamps, r.last)
	r.last = stamps
	if !rests || slices.Equal(stamps, r.used) {
		return false
	}
	r.used = stamps
	return true
}

// renewTLS reads the files of TLS again. If one of them is wrong, what was read before is still
// used.
func (d *daemon) renewTLS() {
	cfg := *d.cfg
	cfg.Warnings = nil
	c := &checker{cfg: &cfg}
	files := c.tlsFiles()
	var wrong *config.Error
	if errors.As(c.err(), &wrong) {
		d.log.Error().Strs("problems", wrong.Problems).Msg("the files of TLS have changed and have errors: those from before are still used")
		return
	}
	for _, w := range cfg.Warnings {
		d.log.Warn().Msg(w)
	}
	d.tls.set(&files)
	event := d.log.Info()
	if files.certificate != nil {
		event.Time("expires", files.certificate.Leaf.NotAfter)
	}
	event.Msg("files of TLS reloaded")
}
