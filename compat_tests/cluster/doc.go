// Package cluster tries out several servers as one cluster: processes of cmd/mycelium
// that are stopped and killed in turn, and networks between them that lose packets, delay
// them, or carry nothing, while clients publish and check what they receive.
//
//	go test -v -count=1 ./compat_tests/cluster -for 10s
//
// is a short trial; "make trial" is the long one. Without -for all tests are skipped
// except TestMillion, TestStorm and TestTakeovers, which -million, -storm and -takeovers
// run ("make million", "make storm", "make takeovers"). The tests need Linux; those that
// cut networks also need root, for network namespaces, and are skipped without it.
package cluster
