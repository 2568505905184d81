package main

import (
	"encoding/json"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
)

// newEcho returns the channel that has most of the events.
func newEcho(pattern string) *channels.Channel {
	ch := channels.Handle(pattern, joinEcho)
	onAll(ch, map[string]handler{
		"echo":         echo("ok"),
		"echo_error":   echo("error"),
		"echo_status":  echo("custom"),
		"ok_only":      bare("ok"),
		"error_only":   bare("error"),
		"noreply":      silent,
		"reply_list":   replyList,
		"reply_scalar": replyScalar,
		"reply_nil":    replyNil,
		"push_me":      pushMe,
		"push_reply":   then(pushMe, echo("ok")),
		"push_list":    pushList,
		"sleep":        sleep,
		"async":        async,
		"connect_info": tellConnectInfo,
	})
	channels.Info(ch, replyLate)
	addBroadcasts(ch)
	addStops(ch)
	addBinary(ch)
	return ch
}

// joinEcho is the join of the echo channels.
func joinEcho(_ *channels.Context, params channels.Payload) (any, error) {
	if o, err := asObject(params); err == nil {
		switch {
		case o.isTrue("deny"):
			return nil, channels.Errorf("denied")
		case o.isTrue("crash"):
			panic("crash was asked for")
		}
	}
	return youSent(params)
}

func pushMe(c *channels.Context, p channels.Payload) channels.Reply {
	must(c.Push("pushed", p))
	return none
}

// pushList pushes a payload that is not an object.
func pushList(c *channels.Context, _ channels.Payload) channels.Reply {
	must(c.Push("pushed", []int{1, 2}))
	return none
}

func replyScalar(*channels.Context, channels.Payload) channels.Reply { return ok("just text") }

func replyNil(*channels.Context, channels.Payload) channels.Reply { return ok(json.RawMessage("null")) }

func replyList(_ *channels.Context, p channels.Payload) channels.Reply {
	if p.Binary {
		panic("bytes cannot be put into JSON")
	}
	return ok([]any{1, "two", json.RawMessage(p.Data)})
}

// sleep blocks the channel, until it ends at the latest.
func sleep(c *channels.Context, p channels.Payload) channels.Reply {
	var ms float64
	if err := json.Unmarshal(objectOf(p)["ms"], &ms); err != nil {
		panic(err)
	}
	pause(c, time.Duration(ms*float64(time.Millisecond)))
	return ok(p)
}

// pause waits for d or until the channel has ended.
func pause(c *channels.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.Done():
	}
}

// lateReply is a reply that is sent after the handler has returned.
type lateReply struct {
	ref      channels.Ref
	response channels.Payload
}

// soon is the delay of late replies and pushes.
const soon = 50 * time.Millisecond

// async replies later. A message without a ref has no socket ref, and asking for one raises
// in Phoenix.
func async(c *channels.Context, p channels.Payload) channels.Reply {
	ref := c.Ref()
	if ref.IsZero() {
		panic("the message has no ref")
	}
	c.SendAfter(soon, lateReply{ref, keep(p)})
	return none
}

func replyLate(_ *channels.Context, late lateReply) error {
	must(late.ref.Reply("ok", late.response))
	return nil
}

// tellConnectInfo replies with everything that is known about the socket.
func tellConnectInfo(c *channels.Context, _ channels.Payload) channels.Reply {
	s := c.Socket()
	v := visitors.Get(s)
	var id *string
	if s.ID() != "" {
		own := s.ID()
		id = &own
	}
	return ok(struct {
		connectInfo
		Params    any             `json:"params"`
		Transport string          `json:"transport"`
		ID        *string         `json:"id"`
		JoinRef   json.RawMessage `json:"join_ref"`
		Ref       channels.Ref    `json:"ref"`
	}{
		v.connectInfo(), v.params(), s.Transport(), id, c.JoinRef(), c.Ref(),
	})
}
