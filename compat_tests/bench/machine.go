package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// othersBusy is the share of the machine that is used while this program and
// its servers do nothing: a second is watched.
func othersBusy() float64 {
	idle, all := processorTimes()
	time.Sleep(time.Second)
	idleAfter, allAfter := processorTimes()
	if allAfter == all {
		return 0
	}
	return 1 - (idleAfter-idle)/(allAfter-all)
}

// processorTimes are the first line of /proc/stat; zero where there is none.
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
			break // what follows is counted in user time too
		}
	}
	return idle, all
}

// processor is the name of the CPU.
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
