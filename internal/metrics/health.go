package metrics

import "net/http"

// Health is the handler of /healthz: it answers 200.
func Health(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok\n") }

// Ready returns the handler of /readyz: 200 if ready returns nil, else 503 with
// the error.
func Ready(ready func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if err := ready(); err != nil {
			answer(w, http.StatusServiceUnavailable, err.Error()+"\n")
			return
		}
		answer(w, http.StatusOK, "ok\n")
	}
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // the client is gone if this fails
}
