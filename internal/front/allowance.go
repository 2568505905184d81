package front

import "time"

// hurriedAllowance is the base of the allowance of a body that no handler waits
// for and, during a shutdown, of every message.
const hurriedAllowance = time.Second

// allowanceRate is how many bytes earn a second more: a tenth of what a bad mobile
// connection carries in one.
const allowanceRate = 8 << 10

// allowance is how long a client may make us wait for one message, which it sends
// or reads.
type allowance struct {
	waited time.Duration
	bytes  int64 // that have passed meanwhile
}

// left returns how much longer we wait: at most base at a time, because bytes that
// the kernel holds count as if they had passed.
func (a *allowance) left(base time.Duration) time.Duration {
	return min(base, base+time.Duration(a.bytes/allowanceRate)*time.Second-a.waited)
}

// spend counts a wait that began at start, in which bytes have passed.
func (a *allowance) spend(start time.Time, bytes int) {
	a.waited += time.Since(start)
	a.bytes += int64(bytes)
}
