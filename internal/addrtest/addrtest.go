// Package addrtest finds addresses for servers that a test or benchmark starts and that cannot choose
// a port themselves: the others have to know it before.
package addrtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"

	"github.com/mycelium-rt/mycelium/internal/bind"
)

var given sync.Map // the addresses that Find has returned, and those that were taken

// Free is [Find] for a test, which fails if there is no address.
func Free(t testing.TB) string {
	t.Helper()
	address, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// Find returns an address ("127.0.0.1:12345") on loopback where nobody listens. Its port is
// not one of those that Linux gives to connections and to listeners that ask for port 0
// (32768 and above): one of them might take it before the server does, or while the server
// is restarted. A process is given no address twice.
func Find() (string, error) {
	for {
		address := fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000))
		if _, taken := given.LoadOrStore(address, true); taken {
			continue
		}
		err := bind.Check(address)
		if err == nil {
			return address, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return "", err
		}
	}
}
