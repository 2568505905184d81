// Package attack is what hostile clients try against "mycelium serve" while a
// well-behaved chat goes on at the same server.
//
//	go test -v -count=1 ./compat_tests/attack
//	go test -v -count=1 ./compat_tests/attack -for 15s   # "make attack"
//
// Each attack runs for as long as -for says. The chat is "mycelium bench
// broadcast" in a process of its own; it joins when the attack is under way.
// What may become of the chat, of the server's memory and descriptors and of its log is in
// bounds_linux_test.go, with the reasons. After that, each attack meets a server
// of its own that is told to end, and one a server whose log nobody reads. The
// tests need Linux: /proc, and a loopback network of many addresses.
package attack
