package netloop

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// cpuTime returns the process's CPU time in nanoseconds.
func cpuTime() int64 {
	var u unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkDeliveryCPU prints the CPU time of a delivery with receivers in another process, beside a bare loop of
// sendto(2) over the same sockets: that loop is the limit.
func BenchmarkDeliveryCPU(b *testing.B) {
	g := newGroup(b, Options{Loops: 1})
	var k collector
	addr := listen(b, g, func(netip.AddrPort) Handler { return &hooks{open: k.add} })
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), drainChild+"="+addr)
	child.Stderr = os.Stderr
	in, _ := child.StdinPipe()
	pipe, _ := child.StdoutPipe()
	if err := child.Start(); err != nil {
		b.Fatal(err)
	}
	defer child.Wait()
	defer in.Close()
	out := bufio.NewReader(pipe)
	eventually(b, "all open", func() bool { return len(k.all()) == drainers })
	frame := frameOf(make([]byte, 100))
	defer frame.Release()
	pub := &publication{frame: frame, conns: k.all()}
	total := int64(0)
	drained := func(frames int) {
		total += int64(frames * drainers * len(frame.Bytes()))
		fmt.Fprintln(in, total)
		if _, err := out.ReadString('\n'); err != nil {
			b.Fatal(io.ErrUnexpectedEOF)
		}
	}
	bare := func() {
		on(b, pub.conns[0], func() {
			for _, c := range pub.conns {
				send(int(c.fd), frame.Bytes())
			}
		})
		drained(1)
	}
	outstanding := func(n int) func() {
		return func() {
			for range n {
				g.Loops()[0].Post(pub)
			}
			drained(n)
		}
	}
	var cpu [3]int64
	runs := []func(){bare, outstanding(1), outstanding(16)}
	b.ResetTimer()
	for range b.N {
		for i, run := range runs { // in turns, because the machine's speed changes
			before := cpuTime()
			run()
			cpu[i] += cpuTime() - before
		}
	}
	per := func(i, frames int) float64 { return float64(cpu[i]) / float64(b.N*drainers*frames) }
	b.ReportMetric(per(0, 1), "ns/bare")
	b.ReportMetric(per(1, 1), "ns/delivery")
	b.ReportMetric(per(2, 16), "ns/joined16")
	b.ReportMetric(per(1, 1)/per(0, 1), "ratio")
}
