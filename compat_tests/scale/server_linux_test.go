package scale

import (
	"bytes"
	"context"
	"encoding/json"
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

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/relay"
)

const (
	// serverEnv makes the test binary the server; its value is the address.
	serverEnv = "MYCELIUM_SCALE_SERVER"
	// profileEnv has the server count every allocation for its heap profile.
	profileEnv = "MYCELIUM_SCALE_PROFILE"

	// plainTopic is served without presence, as a topic of thousands should be:
	// the list of all who are there, for everybody who joins, grows with the
	// square of their number.
	plainTopic = "room:scale"
	relayTopic = "lobby:scale"
	// window gathers presence diffs.
	window = 50 * time.Millisecond
)

// serve runs the server until SIGTERM, as cmd/mycelium does, and returns the
// exit code. It prints its address when it listens, and ends when stdin does,
// that is with the test.
func serve(addr string) int {
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
	if err := listenAndServe(ctx, addr); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		return 1
	}
	if err := goleak.Find(ours); err != nil {
		fmt.Fprintln(os.Stderr, "server: goroutines left:", err)
		return 1
	}
	return 0
}

func listenAndServe(ctx context.Context, addr string) error {
	log := zerolog.New(os.Stderr).Level(zerolog.WarnLevel) // a test that sees a line of it fails
	debug := http.NewServeMux()
	endpoint, err := channels.NewEndpoint(channels.Options{Logger: &log, Handler: debug})
	if err != nil {
		return err
	}
	debug.HandleFunc("/usage", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(usageOf(endpoint))
	})
	debug.HandleFunc("/debug/pprof/", pprof.Index)
	debug.HandleFunc("/debug/pprof/profile", pprof.Profile)
	r := relay.New(endpoint, relay.Options{Topics: []string{"*"}, PresenceOff: []string{plainTopic}, Window: window})
	defer r.Close()
	endpoint.Socket("/socket", channels.SocketOptions{Connect: r.Connect, CheckOrigin: channels.AnyOrigin}, r.Channels()...)
	bound, err := endpoint.Listen(addr)
	if err != nil {
		return err
	}
	fmt.Println(bound)
	<-ctx.Done()
	down, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return endpoint.Shutdown(down)
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
		Goroutines: runtime.NumGoroutine(), Descriptors: openDescriptors(),
		Heap: int64(mem.HeapAlloc), Resident: resident(), Stats: e.Stats(),
	}
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
