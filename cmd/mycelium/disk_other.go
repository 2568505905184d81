//go:build !linux

package main

// freeDisk knows nothing: the doctor is for Linux.
func freeDisk(string) (free int64, known bool, err error) { return 0, false, nil }
