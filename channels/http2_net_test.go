package channels_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
)

// overHTTP2 returns a client that has one connection, with HTTP/2 if it was agreed on.
func overHTTP2(t *testing.T, o *channels.Options) *http.Client {
	t.Helper()
	serverSide, clientSide := selfSigned(t)
	o.TLS = serverSide
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: clientSide, ForceAttemptHTTP2: true, MaxConnsPerHost: 1}, Timeout: patience}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// TestHTTP2: pages, the API and polls of many tabs share a connection.
func TestHTTP2(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		client := overHTTP2(t, &o)
		o.Handler = mirror
		s := serve(t, o, channels.SocketOptions{LongPoll: longPolling}, room())
		r, err := client.Post("https://"+s.addr+"/x", "text/plain", strings.NewReader(strings.Repeat("body", 50_000)))
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if r.Proto != "HTTP/2.0" || !strings.HasPrefix(string(got), "POST /x tls=true bodybody") || len(got) < 200_000 {
			t.Errorf("%s, %d bytes: %.40q", r.Proto, len(got), got)
		}
		tabs := make([]*lpClient, 20)
		for i := range tabs {
			tabs[i] = &lpClient{t: t, home: s.Endpoint, do: client.Do, base: "https://" + s.addr, target: "/socket/longpoll?vsn=2.0.0"}
			tabs[i].open()
			tabs[i].join("room:1")
		}
		var waiting []<-chan lpAnswer
		for _, c := range tabs {
			waiting = append(waiting, c.waiting(context.Background()))
		}
		if err := s.Broadcast("room:1", "hello", struct{}{}); err != nil {
			t.Fatal(err)
		}
		for i, answer := range waiting {
			if a := <-answer; a.Status != 200 || !strings.Contains(a.raw, "hello") {
				t.Errorf("tab %d: %s", i, a.raw)
			}
		}
	})
}

// TestHTTP2Limits: a connection of HTTP/2 counts, and one too many is closed; a client that
// does not send the body that it announced is answered all the same.
func TestHTTP2Limits(t *testing.T) {
	bothSlow(t, func(t *testing.T, o channels.Options) {
		client := overHTTP2(t, &o)
		o.Handler, o.Limits.MaxConnections, o.Limits.HandshakeTimeout = mirror, 1, shortLimit
		s := serve(t, o, channels.SocketOptions{}, room())
		half, send := io.Pipe()
		go send.Write([]byte("half"))
		r, err := client.Post("https://"+s.addr+"/x", "text/plain", half)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		send.CloseWithError(errors.New("no more"))
		if r.StatusCode != http.StatusBadRequest {
			t.Errorf("half a body: %d", r.StatusCode)
		}
		other := overHTTP2(t, &channels.Options{})
		other.Transport.(*http.Transport).TLSClientConfig = client.Transport.(*http.Transport).TLSClientConfig
		if r, err := other.Get("https://" + s.addr + "/x"); err == nil {
			r.Body.Close()
			t.Errorf("a second connection: %d", r.StatusCode)
		}
		client.CloseIdleConnections()
		waitFor(t, "a connection in its place", func() bool {
			r, err := other.Get("https://" + s.addr + "/x")
			if err == nil {
				r.Body.Close()
			}
			return err == nil && r.StatusCode == http.StatusOK
		})
	})
}

// TestHTTP2Shutdown: requests that are under way end, and their connection with them.
func TestHTTP2Shutdown(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		client := overHTTP2(t, &o)
		begun, finish := make(chan bool), make(chan bool)
		o.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(begun)
			<-finish
			io.WriteString(w, "done")
		})
		s := newServer(t, o)
		answer := make(chan string, 1)
		go func() {
			r, err := client.Get("https://" + s.addr + "/x")
			if err != nil {
				answer <- err.Error()
				return
			}
			defer r.Body.Close()
			body, _ := io.ReadAll(r.Body)
			answer <- string(body)
		}()
		<-begun
		ended := make(chan error, 1)
		go func() { ended <- shutdown(t, s) }()
		time.AfterFunc(50*time.Millisecond, func() { close(finish) })
		if got := <-answer; got != "done" {
			t.Errorf("the request that was under way: %s", got)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if n := s.Stats().Network.Connections; n != 0 {
			t.Errorf("%d connections left", n)
		}
	})
}
