//go:build !unix

package natscluster

import "os"

// lockFile does nothing, because flock exists only on Unix.
func lockFile(*os.File) error { return nil }
