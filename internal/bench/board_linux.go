package bench

import (
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// phase is what the workers do now.
type phase int32

const (
	opening   phase = iota // connect and join
	resting                // answer, heartbeat
	running                // the work of the mode
	listening              // send nothing more on their own
	quitting
)

// board is the head of the memory that the parent and its workers share. It is
// followed by a tally for each worker, and the counters of the topics.
type board struct {
	phase     atomic.Int32
	published atomic.Int64 // publications that have left
	expected  atomic.Int64 // deliveries that they come to
	begun     atomic.Int64 // when the first one was due
	finished  atomic.Int32 // workers that will send nothing more
	quiet     atomic.Int32 // workers that send no more heartbeats
	// awaited is the progress at which the publishers are woken.
	awaited atomic.Int64
	_       [64]byte
	// progress counts deliveries, and those that have become impossible.
	progress atomic.Int64
	_        [64]byte
}

// topicCount is the part of the board about one topic.
type topicCount struct {
	receivers atomic.Int64 // joined now, publishers not counted
	published atomic.Int64
}

// tally holds the counters of one worker. Only that worker writes; the
// histograms are read when it has stopped.
type tally struct {
	opened, joined, failed, ended atomic.Int64 // connections; joined ones that end are still counted as joined
	bytes                         atomic.Int64 // received after joining, all kinds
	delivered                     atomic.Int64 // publications at receivers, each once
	copies                        atomic.Int64 // publications at publishers
	late, twice, stray            atomic.Int64
	requests, replies             atomic.Int64
	beats, beatsAnswered          atomic.Int64
	states, stateBytes            atomic.Int64
	diffs, diffBytes              atomic.Int64
	witnesses, mistaken           atomic.Int64 // connections that were checked, and those that see a wrong number
	last                          atomic.Int64 // when the newest of what counts came

	connect, join, latency, lag histogram
}

// memory is the shared memory in one process.
type memory struct {
	raw     []byte
	board   *board
	tallies []tally
	topics  []topicCount
}

func memorySize(workers, topics int) int {
	return int(unsafe.Sizeof(board{})) + workers*int(unsafe.Sizeof(tally{})) + topics*int(unsafe.Sizeof(topicCount{}))
}

// mapMemory maps the file that all processes share. New memory is zero.
func mapMemory(fd, workers, topics int) (*memory, error) {
	raw, err := unix.Mmap(fd, 0, memorySize(workers, topics), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	at := unsafe.Pointer(&raw[0])
	m := &memory{raw: raw, board: (*board)(at)}
	at = unsafe.Add(at, unsafe.Sizeof(board{}))
	m.tallies = unsafe.Slice((*tally)(at), workers)
	at = unsafe.Add(at, uintptr(workers)*unsafe.Sizeof(tally{}))
	m.topics = unsafe.Slice((*topicCount)(at), topics)
	return m, nil
}

func (m *memory) unmap() { _ = unix.Munmap(m.raw) }

// sum adds up one counter of all workers.
func (m *memory) sum(counter func(*tally) *atomic.Int64) (n int64) {
	for i := range m.tallies {
		n += counter(&m.tallies[i]).Load()
	}
	return n
}

// clockStart and clockBase are the same moment on two clocks: Go's own is read
// without a system call, and the system's is the same in all processes.
var clockStart, clockBase = func() (time.Time, int64) {
	var ts unix.Timespec
	start := time.Now()
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // it exists on every Linux
	return start, ts.Nano()
}()

// monotonic is a time in nanoseconds that all processes share.
func monotonic() int64 { return clockBase + int64(time.Since(clockStart)) }
