package realtime

import (
	"context"
	"encoding/json"
	"net/http"
	"sync/atomic"

	"github.com/mycelium-rt/mycelium/channels"
)

// client is one connection.
type client struct {
	first    grant                 // of the connection; static
	last     atomic.Pointer[grant] // the token that was verified last; nil: only the first
	channels atomic.Int64          // joined, or about to be
}

var clientKey = channels.NewKey[*client]("realtime client")

// Connect implements instances.Connector: it admits clients by the apikey in their query or the
// header x-api-key (user_socket.ex, connect).
func (l *logic) Connect(ctx context.Context, s *channels.Socket, r *channels.Request) error {
	if n := l.config.Load().Limits.Users; n > 0 && l.in.Endpoint().Stats().Sockets >= int64(n) {
		return refuseSocket(http.StatusTooManyRequests, "Too many connected users")
	}
	c := new(client)
	if l.verifier() != nil {
		text := r.Header.Get("X-Api-Key")
		if text == "" {
			text = r.Params.Get("apikey")
		}
		var ref *refusal
		if c.first, ref = l.verify(ctx, text); ref != nil {
			l.log.Warn("token refused").Str("reason", ref.message).Addr("peer", r.RemoteAddr).Write()
			return refuseSocket(ref.status, ref.message)
		}
	}
	if t := c.first.token; t != nil {
		if t.SocketID != "" {
			s.SetID(t.SocketID)
		}
		s.Assign("claims", t.Claims) // as auth.Verifier.Connect does
	}
	clientKey.Set(s, c)
	return nil
}

// refuseSocket returns the answer to a client that may not connect.
func refuseSocket(status int, reason string) error {
	body, err := json.Marshal(map[string]string{"error": reason})
	if err != nil {
		return err
	}
	return &channels.RefusedError{Status: status, Body: string(body)}
}
