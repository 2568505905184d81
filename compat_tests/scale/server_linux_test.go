package scale

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
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
	// serverEnv makes the test binary the server. Its value is settings in JSON.
	serverEnv = "MYCELIUM_SCALE_SERVER"
	// profileEnv makes the server count every allocation for its heap profile.
	profileEnv = "MYCELIUM_SCALE_PROFILE"

	// plainTopic is served without presence, as a topic of thousands should be: the lists
	// for all that join grow with the square of their number.
	plainTopic = "room:scale"
	relayTopic = "lobby:scale"
	// quietTopic has presence without diffs: clients get the list when they join, and are
	// not told of later joins.
	quietTopic = "quiet:scale"
	// window gathers presence diffs.
	window = 50 * time.Millisecond
)

// settings are the settings of a test's server.
type settings struct {
	Window        time.Duration         // gathers presence diffs; 0 means window
	OutboundBytes int                   // channels.Limits
	SlowReceiver  channels.SlowReceiver // channels.Options
	IdleTimeout   time.Duration         // channels.SocketOptions
	LongPoll      time.Duration         // the window of long polling, 0 if it is disabled
	Quiet         bool                  // log only errors, because the test causes warnings
	Instances     int                   // how many instances to create
	Spout         bool                  // create the instances "flood" and "spout", to be flooded
	Processor     int                   // to run on, numbered from 1; 0 means all
	Cert, Key     string                // files of a certificate; "" means no TLS
}

// serve runs the server until SIGTERM, as cmd/mycelium does, and returns the exit code. It
// prints its address when it listens. It also ends when stdin does, that is, with the test.
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
	level := zerolog.WarnLevel // a test fails if there is a line
	if s.Quiet {
		level = zerolog.ErrorLevel
	}
	log := zerolog.New(os.Stderr).Level(level)
	secured, err := s.tls()
	if err != nil {
		return err
	}
	debug := http.NewServeMux()
	endpoint, err := channels.NewEndpoint(channels.Options{
		Logger: &log, Handler: debug, TLS: secured,
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
	town, err := newInstances(ctx, endpoint, debug, s.Instances)
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

// tls returns nil without a certificate.
func (s settings) tls() (*tls.Config, error) {
	if s.Cert == "" {
		return nil, nil //nolint:nilnil // no TLS
	}
	pair, err := tls.LoadX509KeyPair(s.Cert, s.Key)
	return &tls.Config{Certificates: []tls.Certificate{pair}}, err
}

// usage is what the server uses.
type usage struct {
	Goroutines  int
	Descriptors int
	Heap        int64 // live bytes
	Resident    int64 // bytes, VmRSS
	Stats       channels.Stats
}

func usageOf(e *channels.Endpoint) usage {
	// What is in a sync.Pool is freed only by the second collection.
	runtime.GC()
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	return usage{
		Goroutines: runtime.NumGoroutine(), Descriptors: leaktest.Descriptors(),
		Heap: int64(mem.HeapAlloc), Resident: resident(), Stats: e.Stats(),
	}
}

// cpuTime returns the user and system time of the process.
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
