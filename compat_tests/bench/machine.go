package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// othersBusy returns the share of the machine that is used, over a second, while this
// program and its servers do nothing.
func othersBusy() float64 {
	idle, all := processorTimes()
	time.Sleep(time.Second)
	idleAfter, allAfter := processorTimes()
	if allAfter == all {
		return 0
	}
	return 1 - (idleAfter-idle)/(allAfter-all)
}

// processorTimes returns the times in the first line of /proc/stat, or zeros.
func processorTimes() (idle, all float64) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	for i, field := range strings.Fields(line)[1:] {
		var n float64
		if _, err := fmt.Sscan(field, &n); err != nil {
			return 0, 0
		}
		all += n
		if i == 3 || i == 4 { // idle and waiting for disks
			idle += n
		}
		if i == 7 {
			break // the rest is included in user time
		}
	}
	return idle, all
}

// processor returns the name of the CPU.
func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	for line := range strings.Lines(string(text)) {
		if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown processor"
}
