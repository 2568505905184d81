package attack

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// keyAttacks are made by a program that has a key of the API.
var keyAttacks = []attack{
	{name: "instances that come and go", workers: 4, least: 20, audited: 512, strike: func(x *attacker, worker int) {
		transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			if c := x.dial(); c != nil {
				return c, nil
			}
			return nil, io.ErrUnexpectedEOF
		}}
		defer transport.CloseIdleConnections()
		for i := 0; x.ctx.Err() == nil; i++ {
			id := fmt.Sprintf("guest-%d-%d", worker, i)
			if !x.call(transport, http.MethodPost, "/api/instances", fmt.Sprintf(`{"id":%q,"type":%q}`, id, []string{"chat", "relay", "game", "collab"}[i%4])) {
				return
			}
			var clients []*wstest.Client
			for range 3 {
				if c := x.socket("/socket/"+id+"/websocket?vsn=2.0.0", nil); c != nil {
					joins(c, "room", 10, `{"user":"eve"}`)
					clients = append(clients, c)
				}
			}
			x.call(transport, http.MethodDelete, "/api/instances/"+id, "")
			for _, c := range clients {
				c.Drop()
			}
			x.done.Add(1)
		}
	}},
}

// call sends a request of the API. It returns false without an answer.
func (x *attacker) call(by http.RoundTripper, method, path, body string) bool {
	r, err := http.NewRequestWithContext(x.ctx, method, "http://"+x.victim.addr+path, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	r.Header.Set("Authorization", "Bearer "+x.victim.key)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Forwarded-For", x.client.String())
	answer, err := by.RoundTrip(r)
	if err != nil {
		return false
	}
	io.Copy(io.Discard, answer.Body) // only to reuse the connection
	answer.Body.Close()
	return true
}
