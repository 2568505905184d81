//go:build linux

package main

import (
	"bytes"
	"os"
	"strconv"
	"strings"
)

// process is a process of /proc.
type process struct {
	pid, session int
	cpu          float64 // user and system time, in seconds
	rss          float64 // bytes
}

// ticks is the unit of times in /proc, USER_HZ: 100 a second wherever Go runs.
const ticks = 100

// usageOf adds up the processes that match.
func usageOf(match func(process) bool) (sum process) {
	folders, _ := os.ReadDir("/proc")
	for _, f := range folders {
		pid, err := strconv.Atoi(f.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile("/proc/" + f.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		if p, ok := parseStat(pid, text); ok && match(p) {
			sum.cpu += p.cpu
			sum.rss += p.rss
		}
	}
	return sum
}

// parseStat parses /proc/PID/stat: proc(5). The name in it may have spaces and brackets.
func parseStat(pid int, text []byte) (process, bool) {
	_, rest, found := cutLast(text, ") ")
	fields := strings.Fields(rest) // the first is number 3 of proc(5), the state
	if !found || len(fields) < 22 {
		return process{}, false
	}
	number := func(field int) float64 {
		v, _ := strconv.ParseFloat(fields[field-3], 64) // the kernel writes numbers
		return v
	}
	return process{
		pid: pid, session: int(number(6)), cpu: (number(14) + number(15)) / ticks, rss: number(24) * float64(os.Getpagesize()),
	}, true
}

func cutLast(text []byte, sep string) (before, after string, found bool) {
	i := bytes.LastIndex(text, []byte(sep))
	if i < 0 {
		return "", "", false
	}
	return string(text[:i]), string(text[i+len(sep):]), true
}

// busyTime returns how long the machine's processors have been used, in seconds, all
// together.
func busyTime() (seconds float64) {
	text, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(text), "\n")
	for i, field := range strings.Fields(line) {
		// cpu user nice system idle iowait irq softirq; the rest is time of other machines,
		// or is counted already.
		if i == 0 || i == 4 || i == 5 || i > 7 {
			continue
		}
		v, _ := strconv.ParseFloat(field, 64) // the kernel writes numbers
		seconds += v / ticks
	}
	return seconds
}

// loadAverage returns the load average of the last minute.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

// processor returns the name of the CPU.
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown processor"
}
