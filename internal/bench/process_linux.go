package bench

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// usage is what one or more processes have used.
type usage struct {
	cpu          time.Duration
	user, system time.Duration // in steps of 10 ms, unlike cpu
	resident     int64         // bytes
	threads      int64
}

// usageOf adds up the usage of processes.
func usageOf(pids []int) (sum usage, err error) {
	for _, pid := range pids {
		u, err := processUsage(pid)
		switch {
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ESRCH):
			return sum, fmt.Errorf("process %d does not exist", pid)
		case err != nil:
			return sum, fmt.Errorf("process %d: %w", pid, err)
		}
		sum.cpu += u.cpu
		sum.user += u.user
		sum.system += u.system
		sum.resident += u.resident
		sum.threads += u.threads
	}
	return sum, nil
}

func processUsage(pid int) (u usage, err error) {
	if u.cpu, err = cpuTime(pid); err != nil {
		return u, err
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	// The fields after the name, which may contain spaces: the first is the state,
	// field 3 of proc(5).
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 18 {
		return u, fmt.Errorf("/proc/%d/stat does not have the fields of proc(5)", pid)
	}
	ticks := func(field string) time.Duration {
		n, _ := strconv.ParseInt(field, 10, 64)
		return time.Duration(n) * time.Second / 100 // USER_HZ is 100 everywhere
	}
	u.user, u.system = ticks(fields[11]), ticks(fields[12])
	u.threads, _ = strconv.ParseInt(fields[17], 10, 64)
	u.resident, err = resident(pid)
	return u, err
}

// cpuTime reads the CPU clock of another process, which counts nanoseconds.
func cpuTime(pid int) (time.Duration, error) {
	const sched = 2 // CPUCLOCK_SCHED of the whole process; clock_getcpuclockid(3) returns the same id
	var ts unix.Timespec
	err := unix.ClockGettime(int32(^pid<<3|sched), &ts)
	return time.Duration(ts.Nano()), err
}

// resident returns the resident memory in bytes. It has the kernel count the
// pages, unless permissions forbid that. VmRSS may lag behind.
func resident(pid int) (int64, error) {
	if n, err := memoryField(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Rss:"); err == nil {
		return n, nil
	}
	return memoryField(fmt.Sprintf("/proc/%d/status", pid), "VmRSS:")
}

func memoryField(file, name string) (int64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, found := strings.CutPrefix(line, name); found {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("%s has no %s", file, name)
}

// openFilesOf returns how many files another process may open.
func openFilesOf(pid int) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), "Max open files")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0, fmt.Errorf("/proc/%d/limits has no Max open files", pid)
	}
	if fields[0] == "unlimited" {
		return maxConnections, nil
	}
	return strconv.Atoi(fields[0])
}
