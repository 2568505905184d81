package attack

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"testing"
	"time"
)

// report is what the tests read of "mycelium bench broadcast --json".
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

// chat holds a conversation of 20 on one topic for a while, from a process of its own, and
// checks what became of it. It returns the 99th percentile of its latencies.
func (v *victim) chat(t *testing.T, length time.Duration) time.Duration {
	t.Helper()
	bench := exec.Command(program, "bench", "broadcast", "ws://"+v.addr+"/socket", "--json",
		"-c", "20", "--rate", "50", "--duration", length.String(), "--settle", "100ms", "--topic", "room:well-behaved")
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
