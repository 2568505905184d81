//go:build !unix

package keyfile

import "io/fs"

// On systems without file modes, a user's own folders are closed to others.

func isOurs(fs.FileInfo) bool { return true }

func writableByOthers(fs.FileInfo) bool { return false }

func readableByOthers(fs.FileInfo) bool { return false }
