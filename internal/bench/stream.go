package bench

import "math/bits"

// stream follows the numbers 0, 1, 2 … of the messages that one receiver gets
// from one sender.
//
//	next = received + missing
type stream struct {
	next    uint32 // one more than the highest number received
	missing uint32 // how many numbers below next have not been received
	recent  uint64 // bit i is set if next-1-i has been received
}

// verdict classifies a message.
type verdict uint8

const (
	inOrder verdict = iota // higher than all before it; what it skips counts as missing
	late                   // received after a higher one
	twice                  // received before
)

// recentBits is how far back a stream remembers each number. An older message counts
// as late as long as numbers that old are missing.
const recentBits = 64

// noteNumber records number n.
func (s *stream) noteNumber(n uint32) verdict {
	if n >= s.next {
		gap := n - s.next
		s.missing += gap
		s.recent = s.recent<<1<<gap | 1 // Go shifts everything out for large gaps
		s.next = n + 1
		return inOrder
	}
	age := s.next - 1 - n
	if age >= recentBits {
		return s.takeOld()
	}
	if s.recent>>age&1 == 1 {
		return twice
	}
	s.recent |= 1 << age
	s.missing--
	return late
}

func (s *stream) takeOld() verdict {
	gaps := uint32(recentBits - bits.OnesCount64(s.recent)) // next is above recentBits here
	if s.missing <= gaps {
		return twice
	}
	s.missing--
	return late
}

// received returns the number of messages received, each counted once.
func (s *stream) received() int64 { return int64(s.next - s.missing) }
