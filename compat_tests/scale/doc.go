// Package scale shows what a server costs with thousands of clients, and that
// it stands what they do: the tests run it in a process of its own, as
// cmd/mycelium does, and are the clients, over TCP on loopback.
//
//	go test -v -count=1 ./compat_tests/scale
//
// prints a line of figures for each test. With the race detector or -short
// there are fewer clients; with -full there are as many as a process may have,
// and times are compared, for which the machine must do nothing else ("make
// scale"). SOAK=10m ("make soak") is how long TestScaleSoak lasts.
//
// The fleet is not internal/bench's: a test has to stop single clients from
// reading, to drop them in every way, and to look at each message.
//
// To see what a connection's memory is made of:
//
//	go test -run TestScaleBroadcast ./compat_tests/scale -heap /tmp/heap
//	go tool pprof -sample_index=inuse_space -top /tmp/heap
//
// The tests need Linux: epoll and /proc.
package scale
