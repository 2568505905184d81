package channels

import (
	"context"
	"net"
	"time"

	"github.com/mycelium-rt/mycelium/internal/forward"
	"github.com/mycelium-rt/mycelium/internal/hooks"
	"github.com/mycelium-rt/mycelium/internal/longpoll"
)

func init() {
	hooks.ServeForwarded = func(endpoint, node any, id uint64, l net.Listener) error {
		return endpoint.(*Endpoint).serveForwarded(node.(*forward.Node), id, l)
	}
}

// serveForwarded serves what other nodes forward, and issues tokens of long polling with
// which other nodes find the sessions here.
func (e *Endpoint) serveForwarded(node *forward.Node, id uint64, l net.Listener) error {
	*e.sessions.issuer = pollIssuer{node: id, signer: longpoll.NewSigner(node.TokenKey()), forward: node}
	_, err := e.front.ServeForwarded(l, node)
	return servingError(err)
}

// endForwarded ends the connections that other nodes serve, at the pace of the drain.
func (e *Endpoint) endForwarded(ctx context.Context) error {
	pace := e.options.Drain.spread()
	for {
		n, next := e.pace.takeCloses(time.Now(), pace, max(1, pace.Batch))
		ended, left := e.front.EndForwarded(n)
		e.pace.giveBack(n - ended)
		if left == 0 {
			return nil
		}
		if n == ended { // there may be more, or what is left only has to close
			next = min(next, pace.Interval)
		} else {
			next = min(next, 10*time.Millisecond)
		}
		if err := sleep(ctx, next); err != nil {
			return err
		}
	}
}
