// Package visitor determines the name of a client in the built-in types.
package visitor

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/presence"
)

// MaxName bounds a name in bytes, because names are sent to everybody.
const MaxName = 64

// Name returns the socket's assign "user", which comes from a claim of its
// token, or else the name that the client asks for in its join, unless a guard
// identifies the client. The error is for the client.
func Name(c *channels.Context, asked string) (string, error) {
	assigned := ""
	switch user := c.Socket().Get("user").(type) {
	case string:
		assigned = user
	case fmt.Stringer: // a number in a token
		assigned = user.String()
	}
	guarded := c.Socket().Guard() != nil
	if guarded || assigned != "" {
		asked = assigned
	}
	name := strings.TrimSpace(asked)
	switch {
	case name == "" && guarded:
		return "", channels.Errorf("the token has no user: the server must assign a claim to it")
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
