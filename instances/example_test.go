package instances_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/instances"
)

type visits struct {
	Step int `json:"step,omitempty" jsonschema:"minimum=1"`
}

type visitors struct {
	in   *instances.Instance
	step int64
	n    atomic.Int64
}

func newVisitors(in *instances.Instance, c visits) (instances.Logic, error) {
	return &visitors{in: in, step: int64(max(1, c.Step))}, nil
}

func (v *visitors) Channels() []*channels.Channel {
	ch := channels.Handle("visits", func(*channels.Context, channels.Payload) (map[string]int64, error) {
		return map[string]int64{"n": v.n.Load()}, nil
	})
	channels.On(ch, "visit", func(*channels.Context, channels.Payload) (channels.NoReply, error) {
		return channels.NoReply{}, v.in.Broadcast("visits", "visited", map[string]int64{"n": v.n.Add(v.step)})
	})
	return []*channels.Channel{ch}
}

func Example() {
	ctx := context.Background()
	endpoint, err := channels.NewEndpoint(channels.Options{})
	if err != nil {
		panic(err)
	}
	manager := instances.New(endpoint, instances.Options{})
	manager.Register(instances.Define("visits", "Counts visits.", newVisitors))
	if err := manager.Open(ctx); err != nil {
		panic(err)
	}
	info, created, err := manager.Create(ctx, instances.Spec{ID: "front-page", Type: "visits"})
	fmt.Println(info.State, created, err)
	// endpoint.ListenAndServe(…): clients connect with new Socket("/socket/front-page")
	fmt.Println(manager.Close(ctx), endpoint.Shutdown(ctx))
	// Output:
	// running true <nil>
	// <nil> <nil>
}

// TestDocIsTheExample: the code in the package's documentation is compiled.
func TestDocIsTheExample(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for line := range strings.Lines(string(doc)) {
		code, ok := strings.CutPrefix(line, "//\t")
		if !ok {
			continue
		}
		lines++
		if !strings.Contains(string(example), code) {
			t.Errorf("not in the example: %s", code)
		}
	}
	if lines < 20 {
		t.Errorf("only %d lines of code in doc.go", lines)
	}
}
