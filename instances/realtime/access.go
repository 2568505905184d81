package realtime

import (
	"context"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/auth"
	"github.com/mycelium-rt/mycelium/channels"
)

// Access decides what a client may do in a private channel. It is called when the client
// joins, when it sends a new token, and for broadcasts over HTTP. It may block until ctx is
// done. With an error the client may do nothing.
type Access func(ctx context.Context, r AccessRequest) (Rights, error)

// AccessRequest is what an [Access] bases its decision on.
type AccessRequest struct {
	Instance string      // the instance's id
	Topic    string      // the channel's name: the topic without "realtime:"
	Token    *auth.Token // nil: the client has none
}

// Rights are what a client may do in a private channel.
type Rights struct {
	Read  bool // join; get broadcasts and presences
	Write bool // broadcast and track
}

// TokenAccess is an [Access] that goes by the token: the topics that it may join may be read,
// those that it may publish to may be written. The topic is the channel's name. Without a token
// nothing is permitted.
func TokenAccess(_ context.Context, r AccessRequest) (Rights, error) {
	if r.Token == nil {
		return Rights{}, nil
	}
	return Rights{Read: r.Token.MayJoin(r.Topic), Write: r.Token.MayPublish(r.Topic)}, nil
}

// rightsTo returns what a client may do in its channel.
func (l *logic) rightsTo(c *channels.Context, g grant) Rights {
	return l.rights(c, c.Subtopic(), g)
}

func (l *logic) rights(ctx context.Context, topic string, g grant) Rights {
	rights, err := l.access(ctx, AccessRequest{Instance: l.in.ID(), Topic: topic, Token: g.token})
	if err != nil {
		l.log.Line(zerolog.ErrorLevel, "access to a private channel not decided").Err(err).Str("topic", topic).Write()
		return Rights{}
	}
	return rights
}

// mayNotRead is the message for a client that may not read.
func mayNotRead(c *channels.Context) string {
	return "You do not have permissions to read from this Channel topic: " + c.Subtopic()
}
