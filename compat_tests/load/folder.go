//go:build linux

package main

import (
	"context"
	"net"
	"path/filepath"
	"runtime"
	"time"
)

// folder returns the folder of this name beside this file.
func folder(name string) string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), name)
}

// listening waits until somebody listens on an address.
func listening(ctx context.Context, addr string) error {
	var d net.Dialer
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		c, err := d.DialContext(ctx, "tcp", addr)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return err
		}
	}
}
