package channels

import "container/list"

// idlePolls are the long-poll sessions of a loop, of a host and its guests, split
// into those with a poll that waits and the others. A session costs its client one
// request, and anybody can send thousands of these over one connection, while each
// session waits for its first poll. So the others have a bound: a new one then
// ends the one that nobody has polled for longest. Owned by the loop.
type idlePolls struct {
	waiting int
	idle    list.List // of *pollSession; those without a poll for longest first
}

// maxIdlePolls is how many sessions of a loop may be without a poll, besides as
// many as there are with one: a megabyte or ten. Clients poll as soon as they have
// an answer, so those of an honest crowd are on their way for one round trip.
const maxIdlePolls = 5000

// await makes p the poll that waits; nil: none does. All changes of s.waiting
// after its opening are made here.
func (s *pollSession) await(p *poll) {
	polls := &s.socket.perLoop().polls
	switch had := s.waiting != nil; {
	case had && p == nil:
		polls.waiting--
		s.place = polls.idle.PushBack(s)
	case !had && p != nil:
		polls.removeIdle(s)
		polls.waiting++
	}
	s.waiting = p
}

// addIdle counts a session that has been opened, and ends another one if there are too
// many.
func (i *idlePolls) addIdle(s *pollSession) {
	s.place = i.idle.PushBack(s)
	if i.idle.Len() <= maxIdlePolls+i.waiting {
		return
	}
	oldest := i.idle.Front().Value.(*pollSession)
	i.removeIdle(oldest)
	oldest.post(func() { oldest.endSession(errNotPolled) }) // as a task of its own endpoint
}

// removeIdle takes a session out of those without a poll.
func (i *idlePolls) removeIdle(s *pollSession) {
	if s.place != nil {
		i.idle.Remove(s.place)
		s.place = nil
	}
}
