package auth_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mycelium-rt/mycelium/auth"
	"github.com/mycelium-rt/mycelium/channels"
)

// A socket that lets in clients with tokens, and such a token.
func Example() {
	key := auth.Key{Algorithm: "HS256", Secret: strings.Repeat("secret", 6)}
	verifier, err := auth.New(auth.Options{
		Keys:     []auth.Key{key},
		SocketID: "users_socket:{sub}",
		Join:     []string{"room:lobby"}, // everybody; a token may allow more
	}, nil)
	if err != nil {
		panic(err)
	}
	defer verifier.Close()
	endpoint, err := channels.NewEndpoint(channels.Options{})
	if err != nil {
		panic(err)
	}
	endpoint.Socket("/socket", verifier.Protect(channels.SocketOptions{}), channels.Handle("room:*",
		func(c *channels.Context, _ channels.Payload) (string, error) {
			name, _ := auth.Current(c.Socket()).Text("sub")
			return "hello " + name, nil
		}))

	// What the application that knows the user signs, and its page connects with.
	signed, err := key.Sign(auth.Claims{"sub": "ada", "exp": time.Now().Add(time.Hour).Unix()})
	if err != nil {
		panic(err)
	}
	token, err := verifier.Verify(context.Background(), signed)
	fmt.Println(token.SocketID, err)

	_, err = verifier.Verify(context.Background(), signed+"x")
	var refused *auth.RefusedError
	fmt.Println(errors.As(err, &refused))
	fmt.Println(endpoint.Shutdown(context.Background()))
	// Output:
	// users_socket:ada <nil>
	// true
	// <nil>
}
