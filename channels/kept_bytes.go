package channels

// Keep adds n bytes to what counts against Limits.SocketBytes, for memory that
// the program uses for this client. A negative n subtracts.
func (c *Context) Keep(n int) { c.kept.Add(int32(n)) }

// keptBytes returns how many bytes the channel keeps.
func (c *Context) keptBytes() int { return len(c.topic) + len(c.joinRef) + int(c.kept.Load()) }

// keptEvery is how many joins share one check of what a socket keeps. A check
// at each would cost more than the joins of a client with a thousand channels.
const keptEvery = 8

// keepsTooMuch reports whether Limits.SocketBytes forbids another join.
func (s *Socket) keepsTooMuch() bool {
	limit := s.mount.limits.SocketBytes
	if n := s.channels.len(); limit < 0 || n == 0 || n%keptEvery != 0 {
		return false
	}
	bytes := 0
	for _, c := range s.channels.all() {
		bytes += c.keptBytes()
	}
	if bytes <= limit {
		return false
	}
	s.endpoint.counters.keptTooMuch.Add(1)
	return true
}
