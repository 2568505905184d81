//go:build !unix

package bind

import "net"

// check listens for a moment: the other systems have no call that all of them know.
func check(addr *net.TCPAddr) error {
	l, err := net.ListenTCP("tcp", addr)
	if err != nil {
		return err
	}
	return l.Close()
}
