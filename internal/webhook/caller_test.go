package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/addrtest"
	"github.com/mycelium-rt/mycelium/internal/netguard"
	"github.com/mycelium-rt/mycelium/internal/waittest"
)

// backend is a server whose answers a test chooses.
type backend struct {
	*httptest.Server
	requests atomic.Int64
}

func serve(t *testing.T, handle http.HandlerFunc) *backend {
	b := new(backend)
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.requests.Add(1)
		handle(w, r)
	}))
	t.Cleanup(b.Close)
	return b
}

// call returns a caller of a back end.
func call(t *testing.T, url string, change func(*Options)) *Caller {
	t.Helper()
	o := Options{URL: url, Secret: make(Secret, minSecret), Timeout: 10 * time.Second, Concurrency: 10}
	if change != nil {
		change(&o)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestCall(t *testing.T) {
	secret := Secret(strings.Repeat("k", 32))
	b := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if err := Verify(r.Header, body, time.Now(), secret); err != nil {
			t.Error(err)
		}
		user, password, _ := r.BasicAuth()
		fmt.Fprintf(w, "%s %s %s %s %s:%s %s", r.Method, r.URL, r.Header.Get("Content-Type"), r.Header.Get("X-Team"), user, password, body)
	})
	address := strings.Replace(b.URL, "http://", "http://ann:pass@", 1) + "/hook?a=b"
	c := call(t, address, func(o *Options) { o.Secret, o.Header = secret, http.Header{"X-Team": {"red"}} })
	var got string
	err := c.Call(t.Context(), Message{Body: []byte(`{"a":1}`), Accept: func(text []byte) error { got = string(text); return nil }})
	if want := `POST /hook?a=b application/json red ann:pass {"a":1}`; err != nil || got != want {
		t.Errorf("%v: %s", err, got)
	}
	if shown := c.Shown(); shown != b.URL+"/hook" {
		t.Errorf("shown as %s", shown)
	}
	for range 5 { // connections are kept
		if err := c.Call(t.Context(), Message{Body: []byte("{}")}); err != nil {
			t.Error(err)
		}
	}
	if s := c.Stats(); s.Sent != 6 || s.Failed+s.Retries+s.InFlight != 0 {
		t.Errorf("%+v", s)
	}
}

func TestHTTP2(t *testing.T) {
	proto := make(chan string, 1)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { proto <- r.Proto }))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	c := call(t, s.URL, nil)
	c.client = netguard.NewTransport(netguard.Options{TLS: s.Client().Transport.(*http.Transport).TLSClientConfig})
	if err := c.Call(t.Context(), Message{Body: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	if got := <-proto; got != "HTTP/2.0" {
		t.Error(got)
	}
}

// TestBadBackEnds: what a back end can do wrong, how often it is asked and what comes of it.
func TestBadBackEnds(t *testing.T) {
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	for name, c := range map[string]struct {
		handle http.HandlerFunc
		repeat bool
		asked  int64
		want   string
		counts bool // for the breaker
	}{
		"500":             {status(500), false, 1, "status 500", true},
		"500, repeatable": {status(500), true, 3, "status 500", true},
		"404, repeatable": {status(404), true, 1, "status 404", false},
		"429":             {status(429), false, 1, "status 429", true},
		"redirects": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, true, 1, "redirects are not followed", false},
		"closes half-way":  {closeAfter("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"allow"), false, 1, "EOF", true},
		"closes, repeated": {closeAfter("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"allow"), true, 3, "EOF", true},
		"closes at once":   {closeAfter(""), false, 1, "EOF", true},
		"garbage":          {closeAfter("SSH-2.0-OpenSSH_9.9\r\n"), false, 1, "malformed HTTP", true},
		"a huge answer":    {func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 10<<20)) }, false, 1, "more than", true},
		"a huge answer, no length": {func(w http.ResponseWriter, _ *http.Request) {
			for range 100 {
				if _, err := w.Write(make([]byte, 100<<10)); err != nil {
					return
				}
				w.(http.Flusher).Flush()
			}
		}, false, 1, "more than", true},
		"not what it should be": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "wrong") }, true, 3, "not accepted", true},
	} {
		t.Run(name, func(t *testing.T) {
			b := serve(t, c.handle)
			caller := call(t, b.URL, nil)
			accept := func(text []byte) error {
				if string(text) == "wrong" {
					return errors.New("not accepted")
				}
				return nil
			}
			err := caller.Call(t.Context(), Message{Body: []byte("{}"), Repeat: c.repeat, Accept: accept})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
			if n := b.requests.Load(); n != c.asked {
				t.Errorf("asked %d times, want %d", n, c.asked)
			}
			if s := caller.Stats(); s.Retries != c.asked-1 || (s.Failed == 1) != c.counts || s.InFlight != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// closeAfter writes some bytes and closes the connection.
func closeAfter(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		io.WriteString(conn, text)
		conn.Close()
	}
}

// TestTimeout: a back end that hangs, before its answer or within it.
func TestTimeout(t *testing.T) {
	for name, first := range map[string]string{"before": "", "within": "{"} {
		t.Run(name, func(t *testing.T) {
			b := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if first != "" {
					io.WriteString(w, first)
					w.(http.Flusher).Flush()
				}
				io.Copy(io.Discard, r.Body) // so that the server notices the end of the connection
				<-r.Context().Done()
			})
			c := call(t, b.URL, func(o *Options) { o.Timeout = 50 * time.Millisecond })
			err := c.Call(t.Context(), Message{Body: []byte("{}"), Repeat: true, Accept: func([]byte) error { return nil }})
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			if s := c.Stats(); s.Failed != 1 || s.InFlight != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestAway: a back end that is gone is asked again, even with what must not be repeated, because nothing was
// sent. Then it is left alone, and used again when it is back.
func TestAway(t *testing.T) {
	address := addrtest.Free(t)
	c := call(t, "http://"+address, nil)
	var clock atomic.Int64
	start := time.Now()
	c.now = func() time.Time { return start.Add(time.Duration(clock.Load())) }
	for range opensAfter {
		if err := c.Call(t.Context(), Message{Body: []byte("{}")}); err == nil || errors.Is(err, ErrAway) {
			t.Error(err)
		}
	}
	if s := c.Stats(); s.Sent != maxTries*opensAfter || s.Retries != (maxTries-1)*opensAfter || !s.Open {
		t.Errorf("%+v", s)
	}
	for range 100 {
		if err := c.Call(t.Context(), Message{Body: []byte("{}")}); !errors.Is(err, ErrAway) {
			t.Error(err)
		}
	}
	if s := c.Stats(); s.Sent != maxTries*opensAfter || s.Away != 100 {
		t.Errorf("%+v", s)
	}
	clock.Store(int64(time.Minute))
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	go s.Serve(l)
	defer s.Close()
	for range 2 {
		if err := c.Call(t.Context(), Message{Body: []byte("{}")}); err != nil {
			t.Error(err)
		}
	}
	if c.Stats().Open {
		t.Error("still open")
	}
}

// TestBounds: so many requests are in flight, so many wait, and further ones are refused at once.
func TestBounds(t *testing.T) {
	const most = 2
	release := make(chan struct{})
	var inFlight, highest atomic.Int64
	b := serve(t, func(http.ResponseWriter, *http.Request) {
		n := inFlight.Add(1)
		defer inFlight.Add(-1)
		for old := highest.Load(); n > old && !highest.CompareAndSwap(old, n); old = highest.Load() {
		}
		<-release
	})
	c := call(t, b.URL, func(o *Options) { o.Concurrency, o.Timeout = most, time.Minute })
	var wg sync.WaitGroup
	for range most + waitingFactor*most {
		wg.Go(func() {
			if err := c.Call(context.Background(), Message{Body: []byte("{}")}); err != nil {
				t.Error(err)
			}
		})
	}
	waittest.For(t, "all to wait", func() bool {
		s := c.Stats()
		return s.InFlight == most && inFlight.Load() == most && s.Waiting == waitingFactor*most
	})
	if err := c.Call(t.Context(), Message{Body: []byte("{}")}); !errors.Is(err, ErrBusy) {
		t.Error(err)
	}
	close(release)
	wg.Wait()
	if s := c.Stats(); highest.Load() != most || s.Busy != 1 || s.InFlight+s.Waiting != 0 {
		t.Errorf("%d at once, %+v", highest.Load(), s)
	}
}

// TestGivenUp: a caller that loses interest is no failure of the back end.
func TestGivenUp(t *testing.T) {
	b := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	c := call(t, b.URL, func(o *Options) { o.Timeout = time.Minute })
	for range opensAfter + 1 {
		asked := b.requests.Load()
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			for b.requests.Load() == asked && ctx.Err() == nil {
				time.Sleep(time.Millisecond)
			}
			cancel()
		}()
		if err := c.Call(ctx, Message{Body: []byte("{}")}); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	if s := c.Stats(); s.Failed != 0 || s.Open {
		t.Errorf("%+v", s)
	}
}

// TestPrivate: without consent, no address of this machine gets a request.
func TestPrivate(t *testing.T) {
	b := serve(t, func(http.ResponseWriter, *http.Request) {})
	for _, address := range []string{b.URL, strings.Replace(b.URL, "127.0.0.1", "localhost", 1)} {
		c := call(t, address, func(o *Options) { o.PublicOnly = true })
		if err := c.Call(t.Context(), Message{Body: []byte("{}")}); err == nil || !strings.Contains(err.Error(), "private network") {
			t.Error(err)
		}
	}
	if n := b.requests.Load(); n != 0 {
		t.Errorf("asked %d times", n)
	}
}

func TestHistogram(t *testing.T) {
	var h Histogram
	for _, d := range []time.Duration{0, time.Millisecond, 2 * time.Millisecond, 10 * time.Second, time.Minute} {
		h.Observe(d)
	}
	buckets, sum := h.Read()
	if want := []int64{2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1}; !slices.Equal(buckets[:], want) || sum != 70*time.Second+3*time.Millisecond {
		t.Error(buckets, sum)
	}
}
