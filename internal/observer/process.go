package observer

import (
	"bytes"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"time"
)

// Process is what the server as a whole uses.
type Process struct {
	HeapBytes   uint64  `json:"heap_bytes"`
	RSSBytes    uint64  `json:"rss_bytes"`   // 0 where the system does not say
	Descriptors int     `json:"descriptors"` // -1 where the system does not say
	Goroutines  int     `json:"goroutines"`
	GCCycles    uint64  `json:"gc_cycles"`
	CPUPercent  float64 `json:"cpu_percent"` // of one core, since the last sample
	Cores       int     `json:"cores"`

	cpu float64 // seconds since the process began
	at  time.Time
}

// heapMetrics are read without stopping the world, as runtime.ReadMemStats would.
var heapMetrics = [...]string{"/memory/classes/heap/objects:bytes", "/gc/cycles/total:gc-cycles"}

func readProcess() Process {
	samples := make([]metrics.Sample, len(heapMetrics))
	for i, name := range heapMetrics {
		samples[i].Name = name
	}
	metrics.Read(samples)
	p := Process{
		HeapBytes: samples[0].Value.Uint64(), GCCycles: samples[1].Value.Uint64(),
		Goroutines: runtime.NumGoroutine(), Cores: runtime.GOMAXPROCS(0),
		cpu: cpuSeconds(), at: time.Now(),
	}
	if text, err := os.ReadFile("/proc/self/statm"); err == nil {
		if fields := bytes.Fields(text); len(fields) > 1 {
			pages, _ := strconv.ParseUint(string(fields[1]), 10, 64)
			p.RSSBytes = pages * uint64(os.Getpagesize())
		}
	}
	p.Descriptors = descriptors()
	return p
}

// descriptors returns the number of open descriptors, -1 if the system does not
// say.
func descriptors() int {
	const dir = "/proc/self/fd"
	info, err := os.Stat(dir)
	if err != nil {
		return -1
	}
	if n := info.Size(); n > 0 { // Linux from 6.2 on counts them itself
		return int(n)
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return -1
	}
	return len(names) - 1 // the directory's
}

// since computes the CPU use since an earlier reading.
func (p Process) since(before Process) Process {
	if seconds := p.at.Sub(before.at).Seconds(); !before.at.IsZero() && seconds > 0 {
		p.CPUPercent = 100 * (p.cpu - before.cpu) / seconds
	}
	return p
}
