package compat_tests

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/mycelium-rt/mycelium/compat_tests/child"
	"github.com/mycelium-rt/mycelium/compat_tests/replay/conformance"
)

// TestTranscriptsOverTLS replays the recordings against the application over TLS, in both
// versions that browsers speak. They are played in clear text, which a proxy encrypts.
func TestTranscriptsOverTLS(t *testing.T) {
	t.Parallel()
	scenarios, err := conformance.Load("transcripts")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range scenarios {
		recordedOverTLS(s)
	}
	for name, version := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			apps := make(chan *child.Process, applications/2)
			for range applications / 2 {
				app := startLabapp(t, "-tls")
				apps <- &child.Process{Addr: encrypting(t, app.Addr, version)}
			}
			for i, s := range scenarios {
				if s.Name == "handshake_auth_token_url_alphabet" {
					continue // what it may answer in place of Phoenix's 500 names the scheme
				}
				if !*whole && i%8 != int(version%8) {
					continue
				}
				t.Run(s.Name, func(t *testing.T) {
					t.Parallel()
					app := <-apps
					defer func() { apps <- app }()
					replay(t, app, s)
				})
			}
		})
	}
}

// recordedOverTLS has the application see what it would have seen over TLS.
func recordedOverTLS(s conformance.Scenario) {
	for _, r := range s.Recordings {
		for _, step := range r.Steps {
			for _, text := range []*string{step.Recv, bodyOf(step.HTTPResponse)} {
				if text != nil {
					*text = strings.NewReplacer(`"scheme":"http"`, `"scheme":"https"`, `\"scheme\":\"http\"`, `\"scheme\":\"https\"`).Replace(*text)
				}
			}
		}
	}
}

func bodyOf(a *conformance.Answer) *string {
	if a == nil {
		return nil
	}
	return a.Body
}

// encrypting starts a proxy that takes clear text and speaks TLS to a server. It returns
// the proxy's address.
func encrypting(t *testing.T, server string, version uint16) string {
	t.Helper()
	config := &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version} // the server is this test's
	return proxied(t, func(client *net.TCPConn) { relay(t, client, server, config) })
}

// proxied starts a proxy that calls serve with each connection. It returns its address.
func proxied(t *testing.T, serve func(client *net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() { serve(c.(*net.TCPConn)) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		open.Wait()
	})
	return l.Addr().String()
}

// relay connects a client to the server until either ends.
func relay(t *testing.T, client *net.TCPConn, server string, config *tls.Config) {
	defer client.Close()
	c, err := net.Dial("tcp", server)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	secured := tls.Client(c, config)
	if err := secured.Handshake(); err != nil {
		t.Error(err)
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(secured, client)
		secured.CloseWrite()
		c.(*net.TCPConn).CloseWrite()
	}()
	_, err = io.Copy(client, secured)
	if err != nil {
		client.SetLinger(0) // a reset is one for the client too
		client.Close()
	} else {
		client.CloseWrite()
	}
	<-done
}
