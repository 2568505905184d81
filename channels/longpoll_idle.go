package channels

import "container/list"

// idlePolls counts the long-poll sessions of a loop, of a host and its guests,
// with and without a waiting poll. A session costs its client one request, and
// one connection can send thousands of these, while each session waits for its
// first poll. So the number of sessions without a waiting poll is bounded:
// above the bound, a new one ends the one that has not been polled for longest.
// Owned by the loop.
type idlePolls struct {
	waiting int
	idle    list.List // *pollSession; longest without a poll first
}

// maxIdlePolls is how many sessions of a loop may be without a poll, in
// addition to as many as have one: one to ten megabytes. Clients poll as soon
// as they have an answer, so a well-behaved client is without a poll for one
// round trip only.
const maxIdlePolls = 5000

// await makes p the waiting poll; nil means none. All changes of s.waiting
// after opening are made here.
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

// addIdle counts a newly opened session, and ends another one if there are too
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

// removeIdle removes a session from those without a poll.
func (i *idlePolls) removeIdle(s *pollSession) {
	if s.place != nil {
		i.idle.Remove(s.place)
		s.place = nil
	}
}
