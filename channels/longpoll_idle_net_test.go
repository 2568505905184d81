package channels_test

import (
	"context"
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
)

// TestSessionsThatNobodyPolls: sessions that are opened and not polled do not pile
// up, those of a guest neither; one with a poll that waits stays.
func TestSessionsThatNobodyPolls(t *testing.T) {
	options := channels.SocketOptions{LongPoll: longPolling}
	t.Run("host", func(t *testing.T) {
		s := serve(t, channels.Options{Loops: 1}, options, rooms()...)
		floodSessions(t, s, s.Endpoint, "/socket/longpoll?vsn=2.0.0")
	})
	t.Run("guest", func(t *testing.T) {
		h := openInn(t, channels.Options{Loops: 1})
		guest := h.invite(t, "guest", channels.Options{}, options, rooms()...)
		floodSessions(t, h.server, guest, "/socket/guest/longpoll?vsn=2.0.0")
	})
}

func floodSessions(t *testing.T, s *server, e *channels.Endpoint, target string) {
	first := s.poller(t)
	first.target = target
	first.open()
	answer := first.waiting(context.Background())
	flood := direct(t, s)
	flood.target = target
	for range channels.MaxIdlePolls + 500 {
		flood.token = ""
		flood.open()
	}
	waitFor(t, "the oldest to be ended", func() bool { return e.Stats().LongPoll.Sessions <= channels.MaxIdlePolls+10 })
	select {
	case a := <-answer:
		t.Errorf("the poll that waited was answered: %s", a.raw)
	default:
	}
	first.post(`["1","1","quiet:1","phx_join",{}]`)
	if a := <-answer; a.Status != 200 {
		t.Errorf("the session that was polled: %s", a.raw)
	}
	flood.post(`[null,"1","phoenix","heartbeat",{}]`) // the last one lives
}
