// Package doctor examines what bounds the connections of a server on this
// machine, says how many each bound is good for, and what to do about those
// that are too small.
package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"runtime"
)

// Status is what a check found.
type Status string

// What a check can find.
const (
	// OK: nothing needs to be changed.
	OK Status = "ok"
	// TooSmall: there cannot be as many connections as were asked for.
	TooSmall Status = "too_small"
	// Advice: there can, but something would be better otherwise.
	Advice Status = "advice"
	// Unknown: it could not be read.
	Unknown Status = "unknown"
	// Failed: what the cluster needs is wrong or cannot be reached.
	Failed Status = "failed"
)

// Check is one thing that was looked at.
type Check struct {
	Name   string `json:"name"` // of a sysctl, or of what has none
	Status Status `json:"status"`
	// Value is what was found, for people.
	Value string `json:"value"`
	// GoodFor is how many connections it allows; nil for what bounds none.
	GoodFor *int64 `json:"good_for,omitempty"`
	// Why is a sentence: what it bounds, or what is wrong.
	Why string `json:"why"`
	// Fix is what to do, one way for each kind of place. It is empty where
	// nothing needs to be done.
	Fix []Fix `json:"fix,omitempty"`
}

// Fix is one way to change something.
type Fix struct {
	// Where it is done: "shell", "sysctl", "systemd", "docker", "kubernetes", "file" (the
	// server's configuration).
	Where string `json:"where"`
	// Do is a command, or a line of a file that Where names.
	Do string `json:"do"`
}

// Report holds the results of all checks.
type Report struct {
	Connections int64   `json:"connections"` // that were asked for
	GoodFor     int64   `json:"good_for"`    // that all checks allow
	OK          bool    `json:"ok"`          // nothing is too small, and nothing has failed
	Checks      []Check `json:"checks"`
	// History are the checks of what is recorded; none if nothing is.
	History []Check `json:"history,omitempty"`
	// Cluster are the checks of the cluster named ClusterName; none without one.
	ClusterName string  `json:"cluster_name,omitempty"`
	Cluster     []Check `json:"cluster,omitempty"`
}

// Machine is the machine and process to examine.
type Machine struct {
	// FS is the root of the file system; only proc and sys are read.
	FS fs.FS
	// Process is the process whose limits and cgroups are examined: an id or "self".
	Process string
	// Threads is the server's GOMAXPROCS.
	Threads int
	// PageSize is the unit of tcp_mem, in bytes.
	PageSize int64
}

// ErrNoLinux is returned where there is no /proc/sys.
var ErrNoLinux = errors.New("there is no /proc/sys: the doctor works on Linux only")

// Measured on Linux 6.18 with 19,000 connections joined to one topic (make
// scale), in bytes a connection. 900 in the server, up to 4,200 with presence;
// 4,500 of the kernel's for the socket; one page of the kernel's while a
// broadcast is on its way to everybody.
const (
	serverBytes = 4 << 10
	kernelBytes = 5 << 10
	bufferPages = 2 // one in each direction, each at least a page
)

// spareFiles are descriptors that are no connections: listeners, loops, files,
// what comes while the server is full.
const spareFiles = 200

// checks are in the order in which a connection meets them.
var checks = []func(*machine, int64) Check{
	openFiles, nrOpen, fileMax, watches,
	acceptQueue, synQueue, conntrack, ports,
	memory, tcpMemory, sendBuffers, commit, swap, hugePages,
	processors, ring, kernel,
}

// Examine looks at m for a server of so many connections.
func Examine(m Machine, connections int64) (Report, error) {
	if _, err := fs.Stat(m.FS, "proc/sys"); err != nil {
		return Report{}, ErrNoLinux
	}
	if _, err := fs.Stat(m.FS, path.Join("proc", m.Process)); err != nil {
		return Report{}, fmt.Errorf("process %s does not exist; --pid takes the id of a running process", m.Process)
	}
	r := Report{Connections: connections, GoodFor: noBound, OK: true}
	read := &machine{Machine: m}
	for _, check := range checks {
		c := check(read, connections)
		if c.GoodFor != nil {
			r.GoodFor = min(r.GoodFor, *c.GoodFor)
		}
		r.OK = r.OK && c.Status != TooSmall
		r.Checks = append(r.Checks, c)
	}
	return r, nil
}

// bound is a check of something that allows goodFor connections; fix is for
// where that is not enough.
func bound(name, value string, goodFor, connections int64, why string, fix ...Fix) Check {
	c := Check{Name: name, Status: OK, Value: value, GoodFor: &goodFor, Why: why}
	if goodFor < connections {
		c.Status, c.Fix = TooSmall, fix
	}
	return c
}

// unknown is a check of what could not be read.
func unknown(name string, err error) Check {
	return Check{Name: name, Status: Unknown, Value: "?", Why: "cannot be read: " + err.Error()}
}

// sysctl is the way to set a kernel parameter that belongs to the machine.
func sysctl(key, value string) Fix {
	return Fix{"sysctl", "sysctl -w " + key + "=" + quoted(value)}
}

// netSysctl are the ways for one that each container has its own of.
func netSysctl(key, value string) []Fix {
	return []Fix{sysctl(key, value), {"docker", "docker run --sysctl " + key + "=" + quoted(value)}}
}

// Threads is what Machine.Threads is for this process.
func Threads() int { return runtime.GOMAXPROCS(0) }
