// Package leaktest is the main function of tests that must leave nothing behind:
// no goroutine, no file descriptor, and nothing that a package counts itself.
package leaktest

import (
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Count is a figure that must be 0 after the tests.
type Count struct {
	Name string // what is counted: "frames"
	Live func() int64
}

// Main runs the tests of a package and ends the process, with status 1 if they
// fail or leave something behind. TestMain calls it.
func Main(m *testing.M, counts ...Count) {
	openPoller()
	before := Descriptors()
	code := m.Run()
	if code == 0 {
		if left := find(before, counts); left != "" {
			fmt.Println(left)
			code = 1
		}
	}
	os.Exit(code)
}

// openPoller makes Go open the descriptors of its own poller, which it never
// closes: before the first count, so that they are in both.
func openPoller() {
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close()
	}
}

// find returns what is left, empty if nothing is.
func find(before int, counts []Count) string {
	var err error
	if settle(func() bool { err = goleak.Find(); return err == nil }); err != nil {
		return fmt.Sprint("goroutines left: ", err)
	}
	if after := SettledDescriptors(before); after > before {
		return fmt.Sprintf("descriptors left: %d before, %d after", before, after)
	}
	for _, c := range counts {
		if n := settled(c.Live); n != 0 {
			return fmt.Sprintf("%s left: %d", c.Name, n)
		}
	}
	return ""
}

// SettledDescriptors counts as Descriptors does until there are no more than wanted, or
// patience has passed: net/http closes its idle connections on goroutines of its own.
func SettledDescriptors(wanted int) (n int) {
	settle(func() bool { n = Descriptors(); return n <= wanted })
	return n
}

// Descriptors returns how many the process has open; -1 where the system does
// not say.
func Descriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(entries)
}

// patience is how long it may take until nothing is left, on a loaded machine. Only a test
// that fails waits that long.
var patience = 30 * time.Second

// settle returns when done reports true, or after patience.
func settle(done func() bool) {
	for deadline := time.Now().Add(patience); !done() && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
}

// settled returns the count once it is 0, or after patience.
func settled(live func() int64) (n int64) {
	settle(func() bool { n = live(); return n == 0 })
	return n
}
