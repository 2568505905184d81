package main

import (
	"io"
	stdlog "log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/mycelium-rt/mycelium/internal/config"
	"github.com/mycelium-rt/mycelium/internal/logging"
)

// flushTimeout bounds the wait for a log that cannot be written, at the end of
// the process.
const flushTimeout = 250 * time.Millisecond

// logOutput is the destination of everything that the server writes to standard
// error. No writer waits for it, even if a pipe or a disk is full.
type logOutput struct {
	*logging.Writer
	file       *os.File // nil if standard error is not a file
	isTerminal bool
	restore    func()
}

// openOutput takes over standard error until close is called.
func openOutput(stderr io.Writer) *logOutput {
	file, isFile := stderr.(*os.File)
	o := &logOutput{Writer: logging.NewWriter(stderr), file: file, isTerminal: isFile && logging.IsTerminal(file)}
	// Otherwise SIGPIPE would end the process after the reader of the pipe has
	// gone.
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	o.restore = func() { signal.Stop(broken) }
	return o
}

// close writes what waits, for at most flushTimeout.
func (o *logOutput) close() {
	o.Flush(flushTimeout)
	o.restore()
}

// terminalClosed reports whether the server was started in a terminal whose window
// has been closed since: the kernel sends SIGHUP then.
func (o *logOutput) terminalClosed() bool { return o.isTerminal && !logging.IsTerminal(o.file) }

// openLog makes the server's logger. Packages that use Go's package log write
// to it too.
func (d *daemon) openLog(c config.Log) error {
	if err := d.level.Set(c.Level); err != nil {
		return err
	}
	log, err := d.output.Logger(d.level, c.Format, d.output.isTerminal)
	if err != nil {
		return err
	}
	d.log = logging.Limit(log)
	flags, before, restore := stdlog.Flags(), stdlog.Writer(), d.output.restore
	stdlog.SetFlags(0)
	stdlog.SetOutput(logging.ErrorLog(logging.NewLog(&d.log)).Writer())
	d.output.restore = func() {
		stdlog.SetFlags(flags)
		stdlog.SetOutput(before)
		restore()
	}
	return nil
}
