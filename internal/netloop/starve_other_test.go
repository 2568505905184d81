//go:build !unix

package netloop

const starvedChild = "NETLOOP_STARVED_CHILD"

func starve() int { return 1 }
