// Package natstest runs NATS servers for tests of those who may not link NATS.
package natstest

import (
	"net/netip"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/mycelium-rt/mycelium/internal/addrtest"
)

// patience is how long a server may take to listen on a loaded machine.
const patience = 60 * time.Second

// Server is a NATS server on loopback, without credentials.
type Server struct {
	t      testing.TB
	port   int
	dir    string // of JetStream; "": there is none
	server *server.Server
}

// Start starts one, which ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, port: freePort(t)}
	s.Restart()
	t.Cleanup(s.Stop)
	return s
}

// StartJetStream is like Start, with JetStream, whose streams stay over Restart.
func StartJetStream(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, port: freePort(t), dir: t.TempDir()}
	s.Restart()
	t.Cleanup(s.Stop)
	return s
}

// URL is where clients connect; it stays the same over Restart.
func (s *Server) URL() string { return s.server.ClientURL() }

// Stop ends the server and all its connections.
func (s *Server) Stop() {
	s.server.Shutdown()
	s.server.WaitForShutdown()
}

// Restart starts a server that was stopped.
func (s *Server) Restart() {
	s.t.Helper()
	made, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: s.port, NoSigs: true, NoLog: true, JetStream: s.dir != "", StoreDir: s.dir})
	if err != nil {
		s.t.Fatal(err)
	}
	go made.Start()
	if !made.ReadyForConnections(patience) {
		s.t.Fatal("the NATS server does not listen")
	}
	s.server = made
}

// freePort returns one that nothing else is given while the server is stopped.
func freePort(t testing.TB) int {
	t.Helper()
	address, err := netip.ParseAddrPort(addrtest.Free(t))
	if err != nil {
		t.Fatal(err)
	}
	return int(address.Port())
}

// StartGuarded starts a server with this max_payload and two users, whose password is pw:
// node may publish and subscribe to subjects below prefix, mute may only subscribe. It
// returns HOST:PORT.
func StartGuarded(t testing.TB, prefix string, maxPayload int32) string {
	t.Helper()
	may := &server.SubjectPermission{Allow: []string{prefix + ".>"}}
	return startOptions(t, &server.Options{MaxPayload: maxPayload, Users: []*server.User{
		{Username: "node", Password: "pw", Permissions: &server.Permissions{Publish: may, Subscribe: may}},
		{Username: "mute", Password: "pw", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{">"}}, Subscribe: may}},
	}})
}

// StartStreams starts a server with JetStream and this max_payload, for the user node,
// whose password is pw, who may publish and subscribe to subjects. It returns HOST:PORT.
func StartStreams(t testing.TB, maxPayload int32, subjects ...string) string {
	t.Helper()
	may := &server.SubjectPermission{Allow: subjects}
	return startOptions(t, &server.Options{MaxPayload: maxPayload, JetStream: true, StoreDir: t.TempDir(), Users: []*server.User{
		{Username: "node", Password: "pw", Permissions: &server.Permissions{Publish: may, Subscribe: may}},
	}})
}

func startOptions(t testing.TB, o *server.Options) string {
	t.Helper()
	o.Host, o.Port, o.NoSigs, o.NoLog = "127.0.0.1", server.RANDOM_PORT, true, true
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(patience) {
		t.Fatal("the NATS server does not listen")
	}
	return s.Addr().String()
}
