package main

import (
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"
)

// freeDisk returns how many bytes users may write on the disk of a directory that may not exist yet.
func freeDisk(dir string) (free int64, known bool, err error) {
	for dir = filepath.Clean(dir); ; dir = filepath.Dir(dir) {
		var s syscall.Statfs_t
		err = syscall.Statfs(dir, &s)
		if !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			return int64(s.Bavail) * s.Bsize, err == nil, err
		}
	}
}
