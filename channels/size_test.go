package channels

import (
	"testing"
	"unsafe"
)

// A socket that has not agreed to compression pays nothing for it: its struct
// stays in the size class that it had.
func TestConnectionIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(websocketConn{}); size > 144 {
		t.Errorf("a websocketConn has %d bytes", size)
	}
}

// The same for raw TCP.
func TestTCPConnectionIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(tcpConn{}); size > 144 {
		t.Errorf("a tcpConn has %d bytes", size)
	}
}
