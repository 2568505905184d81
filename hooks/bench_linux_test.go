package hooks

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
	"github.com/mycelium-rt/mycelium/units"
)

// The back end and the clients of a benchmark are processes of their own, so that the CPU time of this one is the
// server's. partEnv says which part a process plays.
const partEnv = "HOOKS_BENCHMARK_PART"

func init() {
	switch part, argument, _ := strings.Cut(os.Getenv(partEnv), " "); part {
	case "backend":
		playBackend(argument)
	case "clients":
		playClients(argument)
	default:
		return
	}
	os.Exit(0)
}

// playBackend allows everything after a pause. A negative pause never ends.
func playBackend(pause string) {
	wait, err := time.ParseDuration(pause)
	if err != nil {
		panic(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	go endWithParent()
	panic(http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if wait < 0 {
			<-r.Context().Done()
			return
		}
		time.Sleep(wait)
		io.WriteString(w, `{"allow":true,"reply":{"id":1}}`)
	})))
}

// endWithParent ends a process whose parent has closed its standard input.
func endWithParent() {
	io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// playClients has clients join a topic of their own and push an event again as soon as they are answered, or at an
// interval. Its argument is the address, the number of clients, the prefix of their topics, and the interval. It
// prints a line when all have joined, and for each line that it reads the latencies since the last one.
func playClients(argument string) {
	f := strings.Fields(argument)
	n, _ := strconv.Atoi(f[1])
	interval, _ := time.ParseDuration(f[3])
	var mu sync.Mutex
	var latencies []time.Duration
	var begun atomic.Bool
	var ready sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		ready.Add(1)
		go func() {
			c, err := wstest.Dial(f[0], "/socket/websocket?vsn=2.0.0", nil)
			if err != nil {
				panic(err)
			}
			c.Timeout = time.Hour
			topic := f[2] + strconv.Itoa(i)
			exchange(c, fmt.Sprintf(`["1","1",%q,"phx_join",{}]`, topic))
			ready.Done()
			<-start
			time.Sleep(interval * time.Duration(i) / time.Duration(n))
			for {
				before := time.Now()
				exchange(c, fmt.Sprintf(`["1","2",%q,"said",{"body":"twenty bytes of text"}]`, topic))
				took := time.Since(before)
				if begun.Load() {
					mu.Lock()
					latencies = append(latencies, took)
					mu.Unlock()
				}
				time.Sleep(interval - took)
			}
		}()
	}
	ready.Wait()
	close(start)
	fmt.Println("joined")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		begun.Store(true)
		mu.Lock()
		sorted := slices.Sorted(slices.Values(latencies))
		latencies = nil
		mu.Unlock()
		r := report{Count: len(sorted)}
		if len(sorted) > 0 {
			r.Median, r.P99 = sorted[len(sorted)/2], sorted[len(sorted)*99/100]
		}
		json.NewEncoder(os.Stdout).Encode(r)
	}
}

// exchange sends a message and waits for its reply.
func exchange(c *wstest.Client, text string) {
	if err := c.WriteText(text); err != nil {
		panic(err)
	}
	for {
		_, got, err := c.ReadMessage()
		if err != nil {
			panic(err)
		}
		if strings.Contains(string(got), `"phx_reply"`) {
			return
		}
	}
}

// report is what clients have seen.
type report struct {
	Count       int
	Median, P99 time.Duration
}

// part is a process of a benchmark.
type part struct {
	in  io.WriteCloser
	out *bufio.Reader
}

func run(b testing.TB, what string) *part {
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), partEnv+"="+what)
	command.Stderr = os.Stderr
	in, err := command.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		command.Process.Kill()
		command.Wait()
	})
	return &part{in, bufio.NewReader(out)}
}

func (p *part) line(b testing.TB) string {
	text, err := p.out.ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(text)
}

// since returns what clients have seen since the last call; the first call begins.
func (p *part) since(b testing.TB) (r report) {
	fmt.Fprintln(p.in, "?")
	if err := json.Unmarshal([]byte(p.line(b)), &r); err != nil {
		b.Fatal(err)
	}
	return r
}

// serveFor returns the address of a server that asks the back end about events on topics that begin with "asked".
func serveFor(b testing.TB, backend string) string {
	e, err := channels.NewEndpoint(channels.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { e.Shutdown(b.Context()) })
	d, err := New(Options{Instance: "default", Hooks: []Hook{{
		URL: "http://" + backend + "/", Secret: NewSecret(), On: []string{Event}, Topics: []string{"asked*"},
		Concurrency: 1000, Timeout: units.Duration(10 * time.Second),
	}}})
	if err != nil {
		b.Fatal(err)
	}
	ch := channels.Handle("*", func(*channels.Context, struct{}) (channels.NoReply, error) { return channels.NoReply{}, nil }).OnLoop()
	ch.OnAny(func(c *channels.Context, event string, p channels.Payload) (channels.Reply, error) {
		return channels.Reply{Status: "ok"}, c.Relay(event, p)
	})
	e.Socket("/socket", d.Protect(channels.SocketOptions{CheckOrigin: channels.AnyOrigin}, nil), ch)
	addr, err := e.Listen("127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	return addr.String()
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkDecision is the CPU time of the server for an event that a back end decides, while 1,000 are being decided: all
// of it, from the client's message to the reply. An operation is a second.
func BenchmarkDecision(b *testing.B) {
	backend := run(b, "backend 200ms").line(b)
	for _, prefix := range []string{"asked:", "plain:"} {
		b.Run(prefix, func(b *testing.B) {
			clients := run(b, "clients "+serveFor(b, backend)+" 1000 "+prefix+" 200ms")
			clients.line(b)
			time.Sleep(2 * time.Second)
			clients.since(b)
			before, count := cpuTime(), 0
			for b.Loop() {
				time.Sleep(time.Second)
				count += clients.since(b).Count
			}
			b.ReportMetric(float64((cpuTime()-before).Microseconds())/float64(count), "µs-CPU/event")
			b.ReportMetric(float64(count)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkNeighbor is the latency of events that nobody decides, alone, and while a back end hangs that 500 other
// clients wait for. An operation is a second.
func BenchmarkNeighbor(b *testing.B) {
	backend := run(b, "backend -1s").line(b)
	address := serveFor(b, backend)
	neighbors := run(b, "clients "+address+" 100 plain: 20ms")
	neighbors.line(b)
	measure := func(b *testing.B) {
		neighbors.since(b)
		time.Sleep(time.Second)
		neighbors.since(b)
		var medians, highest []time.Duration
		for b.Loop() {
			time.Sleep(time.Second)
			r := neighbors.since(b)
			medians, highest = append(medians, r.Median), append(highest, r.P99)
		}
		slices.Sort(medians)
		slices.Sort(highest)
		b.ReportMetric(float64(medians[len(medians)/2].Microseconds()), "µs-median")
		b.ReportMetric(float64(highest[len(highest)/2].Microseconds()), "µs-p99")
	}
	b.Run("alone", measure)
	waiting := run(b, "clients "+address+" 500 asked: 100ms")
	waiting.line(b)
	b.Run("hanging", measure)
}
