// Package bind finds out whether a server could listen on an address, without listening there:
// a client that connected in that moment would take the server for ready, and be cut off.
package bind

import (
	"net"
	"os"
)

// Check returns the error that net.Listen("tcp", address) would return, or nil. If another
// socket listens on the address, the error wraps syscall.EADDRINUSE.
func Check(address string) error {
	addr, err := net.ResolveTCPAddr("tcp", address)
	if err == nil {
		err = check(addr)
	}
	if err == nil {
		return nil
	}
	if call, ok := err.(*os.SyscallError); ok {
		return &net.OpError{Op: "listen", Net: "tcp", Addr: addr, Err: call}
	}
	return err
}
