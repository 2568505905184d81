//go:build !linux

package bench

import (
	"context"
	"errors"
	"io"
)

// Run fails: the workers stand on epoll.
func Run(context.Context, *Options, io.Writer, io.Writer) (*Report, error) {
	return nil, errors.New("mycelium bench runs on Linux only")
}

// Worker does nothing here.
func Worker() {}
