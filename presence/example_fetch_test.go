package presence_test

import (
	"context"
	"fmt"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/presence"
)

// user is a row of a table of users.
type user struct {
	Name string `json:"name"`
}

// loadUsers stands for one query of a database: SELECT … WHERE id = ANY(ids).
func loadUsers(_ context.Context, ids []string) (map[string]user, error) {
	names := map[string]string{"1": "Ada", "2": "Bob"}
	users := make(map[string]user)
	for _, id := range ids {
		users[id] = user{names[id]}
	}
	return users, nil
}

// Fetch adds the names of users, which are tracked by their ids, to what clients are told.
func Example_fetch() {
	endpoint, err := channels.NewEndpoint(channels.Options{Loops: 1})
	if err != nil {
		panic(err)
	}
	changes := make(chan presence.Change, 1)
	who := presence.New(endpoint, presence.Options{
		Fetch: func(ctx context.Context, topic string, presences map[string]presence.Entry) (map[string]any, error) {
			users, err := loadUsers(ctx, keys(presences))
			if err != nil {
				return nil, err
			}
			added := make(map[string]any)
			for id, u := range users {
				added[id] = map[string]any{"user": u}
			}
			return added, nil
		},
		HandleMetas: func(c presence.Change) { changes <- c },
	})

	if _, err := who.Track(new(visitor), "1", struct{}{}); err != nil {
		panic(err)
	}
	fmt.Printf("%s\n", (<-changes).Joins["1"].Fetched)

	who.Close()
	if err := endpoint.Shutdown(context.Background()); err != nil {
		panic(err)
	}
	// Output:
	// {"user":{"name":"Ada"}}
}
