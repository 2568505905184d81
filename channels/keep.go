package channels

// Keep counts n bytes that the program keeps for the channel's client, against
// Limits.SocketBytes: what the client has sent and others are shown, for example.
// A negative n gives them back.
func (c *Context) Keep(n int) { c.kept.Add(int32(n)) }

// keptBytes returns how many bytes the channel keeps.
func (c *Context) keptBytes() int { return len(c.topic) + len(c.joinRef) + int(c.kept.Load()) }

// keptEvery is the number of joins after which it is looked at what a socket
// keeps: going through its channels with each would cost a client of a thousand
// more than its joins.
const keptEvery = 8

// keepsTooMuch reports whether the socket may join no further channel because of
// Limits.SocketBytes.
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
