//go:build !linux

package bench

import (
	"context"
	"errors"
	"io"
)

// Run returns an error: the workers need epoll.
func Run(context.Context, *Options, io.Writer, io.Writer) (*Report, error) {
	return nil, errors.New("mycelium bench runs on Linux only")
}

// Worker does nothing on this system.
func Worker() {}
