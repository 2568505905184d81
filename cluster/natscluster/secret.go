package natscluster

import (
	"encoding/hex"

	"github.com/mycelium-rt/mycelium/internal/nodekey"
)

// password returns the password that routes authenticate with.
func password(shared []byte) string {
	return hex.EncodeToString(nodekey.Derive(shared, "route password", 24))
}
