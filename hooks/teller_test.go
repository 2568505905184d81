package hooks

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/internal/webhook"
)

// TestTeller: any answer 2xx takes events, whatever its body; everything else is an error, and the request is not sent again
// by the teller, because the outbox has to keep the order.
func TestTeller(t *testing.T) {
	var requests atomic.Int64
	var does atomic.Pointer[http.HandlerFunc]
	b := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		(*does.Load())(w, r)
	}))
	defer b.Close()
	quiet := zerolog.Nop()
	list, err := NewTellers([]Hook{{URL: b.URL, Secret: NewSecret(), On: []string{Joined}}, {URL: b.URL, Secret: NewSecret(), On: []string{Join}}}, &quiet)
	if err != nil || len(list) != 1 {
		t.Fatalf("%d tellers, %v", len(list), err)
	}
	defer list[0].Close()
	halfWay := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		w.WriteHeader(http.StatusInternalServerError)
		io.WriteString(w, "sorr")
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	for name, c := range map[string]struct {
		does  http.HandlerFunc
		taken bool
	}{
		"no content":          {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, true},
		"10 MB":               {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("x", 10<<20)) }, true},
		"500":                 {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, false},
		"a redirect":          {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Location", b.URL); w.WriteHeader(307) }, false},
		"an error half-way":   {halfWay, false},
		"a broken connection": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, false},
	} {
		does.Store(&c.does)
		requests.Store(0)
		err := list[0].Send(t.Context(), "msg_1", []byte(`{"events":[]}`))
		if (err == nil) != c.taken || requests.Load() != 1 {
			t.Errorf("%s: %v after %d requests", name, err, requests.Load())
		}
		var status *webhook.StatusError
		if !c.taken && name != "a broken connection" && !errors.As(err, &status) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
