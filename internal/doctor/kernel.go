package doctor

import (
	"fmt"
	"path"
	"strings"
)

// processors compares Go's threads with what the process gets.
func processors(m *machine, n int64) Check {
	const name = "processors"
	quota := m.quota()
	c := Check{Name: name, Status: OK, Value: fmt.Sprintf("GOMAXPROCS %d, no quota", m.Threads),
		Why: fmt.Sprintf("one loop each; heartbeats alone take about %.0f %% of one with %s connections", heartbeatShare(n), count(n))}
	if quota == 0 {
		return c
	}
	c.Value = fmt.Sprintf("GOMAXPROCS %d, a quota of %.4g", m.Threads, quota)
	if quota < float64(m.Threads)-0.5 {
		c.Status = Advice
		c.Why = "with more threads than the quota allows for, all of them are stopped in the middle of a broadcast until the next period"
		c.Fix = []Fix{
			{"shell", fmt.Sprintf("GOMAXPROCS=%d   # in the server's environment", max(1, int(quota)))},
			{"systemd", fmt.Sprintf("CPUQuota=%d%%   # or so much for all threads, in [Service] of the unit", 100*m.Threads)},
			{"docker", fmt.Sprintf("docker run --cpus %d", m.Threads)},
			{"kubernetes", fmt.Sprintf("resources.limits.cpu: %d", m.Threads)},
		}
	}
	return c
}

const (
	heartbeatInterval = 30.0  // seconds, of phoenix.js
	heartbeatTime     = 30e-6 // seconds of a processor: 24 µs at 6,300 a second, 60 at 630, of which most is waking (make scale)
)

// heartbeatShare is the part of a processor that n clients' heartbeats take, in
// percent.
func heartbeatShare(n int64) float64 {
	return 100 * float64(n) / heartbeatInterval * heartbeatTime
}

// ring checks whether io_uring may be used.
func ring(m *machine, _ int64) Check {
	const name = "io_uring"
	c := Check{Name: name, Status: OK, Why: "bounds nothing: the server works without it"}
	off, err := m.sys("kernel.io_uring_disabled")
	status, _ := m.values(path.Join("proc", m.Process, "status"))
	switch {
	case err == nil && off == 2:
		c.Value = "switched off"
	case err == nil && off == 1:
		c.Value = "for privileged processes only"
	case status["Seccomp"] == 2:
		c.Value = "allowed, unless a seccomp filter forbids it"
	default:
		c.Value = "allowed"
	}
	return c
}

// oldest is the first kernel with all that the server uses (accept4,
// TCP_USER_TIMEOUT) that Go 1.26 runs on.
var oldest = [2]int{3, 2}

// kernel is the version.
func kernel(m *machine, _ int64) Check {
	const name = "kernel"
	release, err := m.text("proc/sys/kernel/osrelease")
	if err != nil {
		return unknown(name, err)
	}
	c := Check{Name: name, Status: OK, Value: release, Why: "it has everything that the server uses"}
	var major, minor int
	if _, err := fmt.Sscanf(strings.SplitN(release, "-", 2)[0], "%d.%d", &major, &minor); err != nil {
		return unknown(name, fmt.Errorf("%q is not a version", release))
	}
	if major < oldest[0] || major == oldest[0] && minor < oldest[1] {
		var none int64
		c.Status, c.GoodFor = TooSmall, &none
		c.Why = fmt.Sprintf("Go needs Linux %d.%d", oldest[0], oldest[1])
		c.Fix = []Fix{{"shell", "a newer kernel"}}
	}
	return c
}
