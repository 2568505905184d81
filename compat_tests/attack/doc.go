// Package attack tests what hostile clients can do to "mycelium serve" during a
// well-behaved chat on the same server.
//
//	go test -v -count=1 ./compat_tests/attack
//	go test -v -count=1 ./compat_tests/attack -for 15s   # "make attack"
//
// Each attack runs for the time of -for. The chat is "mycelium bench broadcast" in a
// process of its own; it joins when the attack is under way. bounds_linux_test.go has
// the bounds for the chat's latency and the server's memory, descriptors and log, with
// the reasons. In a second test each attack meets a server that is told to stop, and in
// a third one a server whose log nobody reads. The tests need Linux: /proc, and a
// loopback network with many addresses.
package attack
