//go:build !unix

package natscluster

import "os"

// lockFile does nothing: there is no flock here.
func lockFile(*os.File) error { return nil }
