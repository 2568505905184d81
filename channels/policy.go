package channels

import (
	"fmt"

	"github.com/mycelium-rt/mycelium/internal/netloop"
)

// SlowReceiver is a policy for a connection that does not read fast enough, when
// [Limits.OutboundBytes] wait for it.
type SlowReceiver uint8

const (
	// DisconnectSlow closes the connection; the client reconnects and rejoins.
	DisconnectSlow SlowReceiver = iota
	// DropOldest drops the frame that has waited longest.
	DropOldest
	// DropNewest drops the new frame.
	DropNewest
)

// IOUring selects how frames are sent: through Linux's io_uring, which takes those
// of many receivers in one system call, or with a system call for each receiver.
type IOUring uint8

const (
	// IOUringAuto uses io_uring where the system permits it: Linux 5.19 or later,
	// and not in most containers.
	IOUringAuto IOUring = iota
	// IOUringOff does not use io_uring.
	IOUringOff
	// IOUringOn uses io_uring; [NewEndpoint] fails where the system does not permit it.
	IOUringOn
)

// Both types have counterparts in netloop. These tables translate them.
var (
	overflowPolicies = [...]netloop.Policy{
		DisconnectSlow: netloop.CloseSlow, DropOldest: netloop.DropOldest, DropNewest: netloop.DropNewest,
	}
	uringModes = [...]netloop.IOUring{
		IOUringAuto: netloop.IOUringAuto, IOUringOff: netloop.IOUringOff, IOUringOn: netloop.IOUringOn,
	}
)

// checkPolicies returns an error for a value that is not one of the constants.
func (o *Options) checkPolicies() error {
	if int(o.SlowReceiver) >= len(overflowPolicies) {
		return fmt.Errorf("channels: Options.SlowReceiver is %d, not DisconnectSlow, DropOldest or DropNewest", o.SlowReceiver)
	}
	if int(o.IOUring) >= len(uringModes) {
		return fmt.Errorf("channels: Options.IOUring is %d, not IOUringAuto, IOUringOff or IOUringOn", o.IOUring)
	}
	return nil
}
