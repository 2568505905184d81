//go:build unix

package main

import (
	"context"
	"io"
	"testing"
)

// TestStopWhileStarting: a server that is told to stop before it listens has not failed.
func TestStopWhileStarting(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	for range 3 { // when the start notices may be up to chance
		log := new(buffer)
		if code := run(ctx, []string{"--listen=127.0.0.1:0", "--data=" + t.TempDir()}, []string{"XDG_RUNTIME_DIR=" + t.TempDir()}, io.Discard, log); code != 0 {
			t.Fatalf("exit %d:\n%s", code, log)
		}
	}
}
