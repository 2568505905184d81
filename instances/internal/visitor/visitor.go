// Package visitor says by which name a client goes in the ready types.
package visitor

import (
	"strings"
	"unicode"

	"github.com/mycelium-rt/mycelium/channels"
)

// MaxName bounds a name in bytes: each is told to everybody.
const MaxName = 64

// Name is the socket's assign "user", which a claim of its token gives it, else
// what the client asks for in its join. An error is for the client.
func Name(c *channels.Context, asked string) (string, error) {
	if assigned, ok := c.Socket().Get("user").(string); ok && assigned != "" {
		asked = assigned
	}
	name := strings.TrimSpace(asked)
	switch {
	case name == "":
		return "", channels.Errorf("user is missing: join with a name")
	case len(name) > MaxName:
		return "", channels.Errorf("user is longer than %d bytes", MaxName)
	case strings.ContainsFunc(name, unicode.IsControl):
		return "", channels.Errorf("user has control characters")
	}
	return name, nil
}
