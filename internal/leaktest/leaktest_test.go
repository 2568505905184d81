package leaktest

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) { Main(m) }

func TestFind(t *testing.T) {
	defer func(was time.Duration) { patience = was }(patience)
	patience = 10 * time.Millisecond // something is left, and stays
	before := Descriptors()
	if left := find(before, nil); left != "" {
		t.Fatal(left)
	}
	stop := make(chan struct{})
	ended := make(chan struct{})
	go func() { defer close(ended); <-stop }()
	if left := find(before, nil); !strings.HasPrefix(left, "goroutines left: ") {
		t.Errorf("with a goroutine: %q", left)
	}
	close(stop)
	<-ended
	if left := find(before, []Count{{"frames", func() int64 { return 0 }}, {"buffers", func() int64 { return 2 }}}); left != "buffers left: 2" {
		t.Errorf("with two buffers: %q", left)
	}
	if before < 0 {
		return
	}
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	if left := find(before, nil); !strings.HasPrefix(left, "descriptors left: ") {
		t.Errorf("with a file: %q", left)
	}
	file.Close()
	if left := find(before, nil); left != "" {
		t.Error(left)
	}
}
