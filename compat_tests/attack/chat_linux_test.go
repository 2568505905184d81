package attack

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"testing"
	"time"
)

// report is the part of the output of "mycelium bench broadcast --json" that the tests
// read.
type report struct {
	Open struct{ Joined, Failed int }
	Run  struct {
		Delivered, Lost int
		OutOfOrder      int `json:"out_of_order"`
		Twice           int
		Ended           int `json:"connections_ended"`
		Latency         struct {
			P99 float64 `json:"p99_us"`
		}
	}
}

// chat runs a conversation of 20 clients on one topic, in a process of its own, and checks
// that every message arrived. It returns the 99th percentile of the latencies.
func (v *victim) chat(t *testing.T, length time.Duration) time.Duration {
	t.Helper()
	bench := exec.Command(program, "bench", "broadcast", v.scheme+"://"+v.addr+"/socket", "--json",
		"-c", "20", "--rate", "50", "--duration", length.String(), "--settle", "100ms", "--topic", "room:well-behaved")
	if v.scheme == "wss" {
		bench.Args = append(bench.Args, "--insecure")
	}
	var complaints bytes.Buffer
	bench.Stderr = &complaints
	out, err := bench.Output()
	var r report
	if jsonErr := json.Unmarshal(out, &r); jsonErr != nil {
		t.Fatalf("the chat: %v, %v\n%s%s", err, jsonErr, out, complaints.Bytes())
	}
	if r.Open.Failed > 0 || r.Open.Joined != 21 {
		t.Errorf("%d of 21 chatters joined", r.Open.Joined)
	}
	if r.Run.Lost > 0 || r.Run.OutOfOrder > 0 || r.Run.Twice > 0 || r.Run.Ended > 0 || r.Run.Delivered == 0 {
		t.Errorf("the chat: %d delivered, %d lost, %d out of order, %d twice, %d connections ended",
			r.Run.Delivered, r.Run.Lost, r.Run.OutOfOrder, r.Run.Twice, r.Run.Ended)
	}
	return time.Duration(r.Run.Latency.P99 * float64(time.Microsecond))
}
