// Package scale measures what a server costs with thousands of clients, and checks that it
// handles whatever they do. The tests run the server in a process of its own, configured
// as cmd/mycelium does it, and connect to it over TCP on loopback.
//
//	go test -v -count=1 ./compat_tests/scale
//
// prints a line of figures for each test. With the race detector or -short there are
// fewer clients. With -full there are as many as a process can have, and times are
// compared, which needs an otherwise idle machine ("make scale"). SOAK=10m ("make soak")
// is how long TestScaleSoak lasts.
//
// The tests do not use the fleet of internal/bench, because they have to stop single
// clients from reading, drop connections in every way, and check each message.
//
// To see what the memory of a connection is used for:
//
//	go test -run TestScaleBroadcast ./compat_tests/scale -heap /tmp/heap
//	go tool pprof -sample_index=inuse_space -top /tmp/heap
//
// The tests need Linux: epoll and /proc.
package scale
