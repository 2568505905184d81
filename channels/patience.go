package channels

import "time"

// hurriedPatience is the base of patience for a body that no handler waits for
// and, during a shutdown, for all.
const hurriedPatience = time.Second

// patienceRate is how many bytes are worth a second of patience: one tenth of what a
// bad mobile connection carries.
const patienceRate = 8 << 10

// patience is how long a client may keep one message waiting.
type patience struct {
	spent time.Duration // in waiting
	bytes int64         // that have passed meanwhile
}

// left returns how much longer the client is waited for: at most base at a
// time, because bytes that the kernel holds count as if they had passed.
func (p *patience) left(base time.Duration) time.Duration {
	return min(base, base+time.Duration(p.bytes/patienceRate)*time.Second-p.spent)
}

func (p *patience) spend(since time.Time, bytes int) {
	p.spent += time.Since(since)
	p.bytes += int64(bytes)
}
