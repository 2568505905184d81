// Package scale shows what a server costs with ten thousand clients on one
// topic: the tests run it in a process of its own, as cmd/mycelium does, and
// are the clients, over TCP on loopback.
//
//	go test -v -count=1 ./compat_tests/scale
//
// prints a line of figures for each test. With the race detector or -short
// there are fewer clients. To see what a connection's memory is made of:
//
//	go test -run TestScaleBroadcast ./compat_tests/scale -heap /tmp/heap
//	go tool pprof -sample_index=inuse_space -top /tmp/heap
//
// The tests need Linux: epoll and /proc.
package scale
