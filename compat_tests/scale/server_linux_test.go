package scale

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/pprof"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/instances/relay"
	"github.com/mycelium-rt/mycelium/internal/leaktest"
)

const (
	// serverEnv makes the test binary the server; its value is settings in JSON.
	serverEnv = "MYCELIUM_SCALE_SERVER"
	// profileEnv has the server count every allocation for its heap profile.
	profileEnv = "MYCELIUM_SCALE_PROFILE"

	// plainTopic is served without presence, as a topic of thousands should be:
	// the list of all who are there, for everybody who joins, grows with the
	// square of their number.
	plainTopic = "room:scale"
	relayTopic = "lobby:scale"
	// quietTopic has a presence without diffs: who joins gets the list, and
	// nobody hears of who comes later.
	quietTopic = "quiet:scale"
	// window gathers presence diffs.
	window = 50 * time.Millisecond
)

// settings are what a test wants of its server other than the defaults.
type settings struct {
	Window        time.Duration         // gathers presence diffs; 0 is window
	OutboundBytes int                   // channels.Limits
	SlowReceiver  channels.SlowReceiver // channels.Options
	IdleTimeout   time.Duration         // channels.SocketOptions
	LongPoll      time.Duration         // the window of a session, and that there are any
	Quiet         bool                  // log errors only: the test wants what is warned of
	Instances     int                   // how many there are, beside the plain socket
	Spout         bool                  // that there are instances to be flooded, "flood" and "spout"
	Processor     int                   // that it runs on, by its number from 1; 0: all
}

// serve runs the server until SIGTERM, as cmd/mycelium does, and returns the
// exit code. It prints its address when it listens, and ends when stdin does,
// that is with the test.
func serve(values string) int {
	var s settings
	if err := json.Unmarshal([]byte(values), &s); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		return 2
	}
	if os.Getenv(profileEnv) != "" {
		runtime.MemProfileRate = 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	ours := goleak.IgnoreCurrent()
	if err := listenAndServe(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		return 1
	}
	if err := goleak.Find(ours); err != nil {
		fmt.Fprintln(os.Stderr, "server: goroutines left:", err)
		return 1
	}
	return 0
}

func listenAndServe(ctx context.Context, s settings) error {
	level := zerolog.WarnLevel // a test that sees a line of it fails
	if s.Quiet {
		level = zerolog.ErrorLevel
	}
	log := zerolog.New(os.Stderr).Level(level)
	debug := http.NewServeMux()
	endpoint, err := channels.NewEndpoint(channels.Options{
		Logger: &log, Handler: debug,
		Limits: channels.Limits{OutboundBytes: s.OutboundBytes}, SlowReceiver: s.SlowReceiver,
	})
	if err != nil {
		return err
	}
	debug.HandleFunc("/usage", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(usageOf(endpoint))
	})
	debug.HandleFunc("/cpu", func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(cpuTime()) })
	debug.HandleFunc("/debug/pprof/", pprof.Index)
	debug.HandleFunc("/debug/pprof/profile", pprof.Profile)
	r := relay.New(endpoint, relay.Options{
		Topics: []string{"*"}, PresenceOff: []string{plainTopic}, DiffsOff: []string{quietTopic}, Window: cmp.Or(s.Window, window),
	})
	defer r.Close()
	endpoint.Socket("/socket", channels.SocketOptions{
		Connect: r.Connect, CheckOrigin: channels.AnyOrigin, IdleTimeout: s.IdleTimeout,
		LongPoll: channels.LongPollOptions{Enabled: s.LongPoll > 0, Window: s.LongPoll},
	}, r.Channels()...)
	town, err := newTown(ctx, endpoint, debug, s.Instances)
	if err != nil {
		return err
	}
	if s.Spout {
		if err := raiseSpout(ctx, town); err != nil {
			return err
		}
	}
	bound, err := endpoint.Listen("127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(bound)
	<-ctx.Done()
	down, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return errors.Join(town.Close(down), endpoint.Shutdown(down))
}

// usage is what the server holds.
type usage struct {
	Goroutines  int
	Descriptors int
	Heap        int64 // bytes that are live
	Resident    int64 // bytes, VmRSS
	Stats       channels.Stats
}

func usageOf(e *channels.Endpoint) usage {
	// The first collection leaves what sync.Pools hold for the second.
	runtime.GC()
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	return usage{
		Goroutines: runtime.NumGoroutine(), Descriptors: leaktest.Descriptors(),
		Heap: int64(mem.HeapAlloc), Resident: resident(), Stats: e.Stats(),
	}
}

// cpuTime is the process's, of the user and the system.
func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return -1
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func resident() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return -1
	}
	_, after, _ := bytes.Cut(status, []byte("VmRSS:"))
	fields := bytes.Fields(after)
	if len(fields) == 0 {
		return -1
	}
	kib, err := strconv.ParseInt(string(fields[0]), 10, 64)
	if err != nil {
		return -1
	}
	return kib << 10
}
