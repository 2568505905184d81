//go:build unix

package observer

import (
	"time"

	"golang.org/x/sys/unix"
)

// cpuSeconds is the CPU time of the process.
func cpuSeconds() float64 {
	var usage unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return (time.Duration(usage.Utime.Nano()) + time.Duration(usage.Stime.Nano())).Seconds()
}
