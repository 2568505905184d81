//go:build !linux

package front

import "syscall"

// unsentBytes returns 0: only Linux is asked.
func unsentBytes(syscall.Conn) int { return 0 }
