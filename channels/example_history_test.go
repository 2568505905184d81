package channels_test

import (
	"context"
	"fmt"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/history"
)

// What is broadcast on a room is recorded for clients that come back.
func Example_history() {
	newEndpoint := func() (*channels.Endpoint, error) {
		store := history.NewStore(history.Options{Memory: 64 << 20})
		space, err := store.Space("", []history.Rule{{Topics: []string{"room:*"}, Events: []string{"new_msg"}}})
		if err != nil {
			return nil, err
		}
		return channels.NewEndpoint(channels.Options{History: space})
	}
	endpoint, err := newEndpoint()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer endpoint.Shutdown(context.Background())
	for _, event := range []string{"new_msg", "typing"} {
		if err := endpoint.Broadcast("room:1", event, map[string]string{"from": "ada"}); err != nil {
			fmt.Println(err)
		}
	}
	for _, m := range endpoint.History().Last("room:1", 10) {
		fmt.Printf("%s %s\n", m.Event, m.Payload)
	}
	endpoint.History().Clear()
	// Output: new_msg {"from":"ada"}
}
