// Package cluster tries several servers that are one cluster: processes of
// cmd/mycelium that are stopped and killed in turn, and networks between them that
// lose, delay, or carry nothing, while clients publish and check what they get.
//
//	go test -v -count=1 ./compat_tests/cluster -for 10s
//
// is a short trial; "make trial" is the long one. Without -for every test skips, but
// TestMillion and TestTakeovers, which -million and -takeovers run: "make million",
// "make takeovers".
// The tests need Linux; those that cut networks need root too, for network
// namespaces, and skip without it.
package cluster
