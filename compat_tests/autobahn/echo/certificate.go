package main

import (
	"crypto/tls"
	"net"

	"github.com/mycelium-rt/mycelium/compat_tests/selfsigned"
	"github.com/mycelium-rt/mycelium/internal/netloop"
)

// listenTLS listens with a certificate that is made for this run.
func listenTLS(loops *netloop.Group, addr string, accept netloop.Accept) (*netloop.Listener, error) {
	cert, err := selfsigned.New()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	return loops.Serve(netloop.NewTLSListener(l, &tls.Config{Certificates: []tls.Certificate{cert}}), accept)
}
