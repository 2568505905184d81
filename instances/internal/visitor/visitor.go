// Package visitor says by which name a client goes in the ready types.
package visitor

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/presence"
)

// MaxName bounds a name in bytes: each is told to everybody.
const MaxName = 64

// Name is the socket's assign "user", which a claim of its token gives it, else
// what the client asks for in its join; where a guard knows who the client is,
// it does not matter what that asks for. An error is for the client.
func Name(c *channels.Context, asked string) (string, error) {
	assigned := ""
	switch user := c.Socket().Get("user").(type) {
	case string:
		assigned = user
	case fmt.Stringer: // a number of a token
		assigned = user.String()
	}
	guarded := c.Socket().Guard() != nil
	if guarded || assigned != "" {
		asked = assigned
	}
	name := strings.TrimSpace(asked)
	switch {
	case name == "" && guarded:
		return "", channels.Errorf("the token gives no user: the server has to assign a claim to it")
	case name == "":
		return "", channels.Errorf("user is missing: join with a name")
	case len(name) > MaxName:
		return "", channels.Errorf("user is longer than %d bytes", MaxName)
	case strings.ContainsFunc(name, unicode.IsControl):
		return "", channels.Errorf("user has control characters")
	case presence.BreaksClients(name):
		return "", channels.Errorf("user is %q, which breaks the presence lists of JavaScript clients: choose another name", name)
	}
	return name, nil
}
