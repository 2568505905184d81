package realtime

import (
	"github.com/mycelium-rt/mycelium/channels"
)

// systemMessage is what the server says about a channel (realtime_channel.ex,
// push_system_message).
type systemMessage struct {
	Extension string `json:"extension"`
	Status    string `json:"status"`
	Message   string `json:"message"`
	Channel   string `json:"channel"`
}

const (
	extensionSystem  = "system"
	extensionChanges = "postgres_changes"

	statusError = "error"
)

// system pushes a system message.
func (l *logic) system(c *channels.Context, status, extension, message string) error {
	return c.Push("system", systemMessage{Extension: extension, Status: status, Message: message, Channel: c.Subtopic()})
}

// shutdown ends a channel and tells the client why. The socket stays open
// (realtime_channel.ex, shutdown_response): clients see phx_close, and may join again.
func (l *logic) shutdown(c *channels.Context, message string) error {
	l.debug(c, "channel shut down").Str("reason", message).Write()
	err := l.system(c, statusError, extensionSystem, message)
	c.Stop(nil)
	return err
}

// noReplication is the message for clients that wait for broadcasts from the database.
const noReplication = "Replication connection was not established: this server has no database"
