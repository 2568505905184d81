// Package heaptest helps tests that measure the heap of a server: its clients run in a
// child process, so that their memory does not count.
package heaptest

import (
	"bufio"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"
	"time"
)

// Live returns the live heap in bytes, once what ended before, a server of another test for instance, is no longer
// letting go of it.
func Live() uint64 {
	last := live()
	for range 50 {
		time.Sleep(20 * time.Millisecond)
		now := live()
		if now+4<<10 >= last {
			return now
		}
		last = now
	}
	return last
}

// live is the live heap after three collections: what is in a sync.Pool survives the first.
func live() uint64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Alone reports whether a test runs in a process of its own, whose memory no other test has
// used. Otherwise it runs the test in one, and the test must return.
func Alone(t *testing.T) bool {
	t.Helper()
	const alone = "MYCELIUM_TEST_ALONE"
	if os.Getenv(alone) != "" {
		return true
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(exe, "-test.run=^"+t.Name()+"$", "-test.v")
	child.Env = append(os.Environ(), alone+"=1")
	said, err := child.CombinedOutput()
	if t.Logf("in a process of its own:\n%s", said); err != nil {
		t.Error(err)
	}
	return false
}

// StartClients runs the test binary once more, with the variable setting ("NAME=value") in
// its environment, which tells its TestMain to be the clients. It returns when that process
// prints "ready". release closes the process's standard input, at which it must exit, and
// waits for it; so does the end of the test.
func StartClients(t testing.TB, setting string) (release func()) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(exe)
	child.Env = append(os.Environ(), setting)
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	said, _ := bufio.NewReader(out).ReadString('\n')
	release = sync.OnceFunc(func() {
		in.Close()
		child.Wait() //nolint:errcheck // what it printed is what counts
	})
	t.Cleanup(release)
	if said != "ready\n" {
		t.Fatalf("the clients: %q", said)
	}
	return release
}
