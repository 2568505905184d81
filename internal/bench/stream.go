package bench

import "math/bits"

// stream follows the numbers 0, 1, 2 … of the messages that one receiver gets
// from one sender.
//
//	next = received + missing
type stream struct {
	next    uint32 // one more than the highest number that has come
	missing uint32 // numbers below next that have not come
	recent  uint64 // bit i tells whether next-1-i has come
}

// verdict is what a message was.
type verdict uint8

const (
	inOrder verdict = iota // higher than all before it; what it skips counts as missing
	late                   // came after a higher one
	twice                  // had come before
)

// recentBits is how far back late and twice are told apart by the number
// itself. Further back a message is late as long as so old ones are missing.
const recentBits = 64

// noteNumber notes number n.
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

// received is the number of messages that have come, each counted once.
func (s *stream) received() int64 { return int64(s.next - s.missing) }
