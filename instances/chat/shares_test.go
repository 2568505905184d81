package chat_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/instances/chat"
	"github.com/mycelium-rt/mycelium/instances/internal/typetest"
)

// greedy has a client open rooms until it is refused one, and say something in
// each.
func greedy(s *server, name string, most int) (client *channelstest.Client, opened int) {
	s.T.Helper()
	client = channelstest.Connect(s.T, s.Endpoint, "/socket/"+typetest.ID)
	for ; opened < most; opened++ {
		ch, reply := client.TryJoin(fmt.Sprintf("room:%s-%d", name, opened), object{"user": name})
		if reply.Status != "ok" {
			return client, opened
		}
		ch.Push("new_msg", object{"body": "mine"}).AssertReply("ok", nil)
	}
	return client, opened
}

// TestRoomsAreShared: ten sockets that take all the rooms they get leave some for
// others.
func TestRoomsAreShared(t *testing.T) {
	s := start(t, nil, `{"max_rooms":100}`)
	total := 0
	for i := range 10 {
		_, n := greedy(s, fmt.Sprint("greedy", i), 100)
		total += n
	}
	if total < 80 {
		t.Errorf("ten sockets may open %d rooms of 100", total)
	}
	if _, n := greedy(s, "newcomer", 1); n != 1 {
		t.Errorf("ten sockets have %d rooms of 100, and a newcomer gets none", total)
	}
	s.join("greedy0-0", object{"user": "guest"}) // a room that is open is open to all
	s = start(t, nil, `{"max_rooms":100,"room_share":100}`)
	if _, n := greedy(s, "alone", 100); n != 100 {
		t.Errorf("without shares one socket may open %d rooms of 100", n)
	}
}

// TestBacklogsAreShared: a client that says something in one room after the other
// loses its own backlogs, and not those of others.
func TestBacklogsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, nil, `{"max_rooms":20}`)
		old := s.join("old", object{"user": "ada"})
		old.Push("new_msg", object{"body": "hello"}).AssertReply("ok", nil)
		old.Leave()
		time.Sleep(chat.SaveAfter)
		flooders := make([]*channelstest.Client, 10)
		for i := range flooders {
			flooders[i] = channelstest.Connect(t, s.Endpoint, "/socket/"+typetest.ID)
		}
		for wave := range 12 {
			for i, client := range flooders {
				ch := client.Join(fmt.Sprintf("room:%d-%d", wave, i), object{"user": "flooder"})
				ch.Push("new_msg", object{"body": "mine"}).AssertReply("ok", nil)
				ch.Leave()
			}
			time.Sleep(2 * chat.SaveAfter)
			synctest.Wait()
		}
		wantBacklog(t, s.join("old", object{"user": "bob"}), "hello")
	})
}
