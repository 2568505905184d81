package realtime

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/wire"
)

// maxBody bounds a request in bytes, as Plug.Parsers does.
const maxBody = 8_000_000

// ServeHTTP implements http.Handler: broadcasts from back ends, and from clients that have not joined
// (controllers/broadcast_controller.ex, broadcast_single_controller.ex).
func (l *logic) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.EscapedPath(), "/api/broadcast")
	topic, event, single := splitSingle(path)
	if !ok || path != "" && !single {
		answer(w, http.StatusNotFound, message("not found"))
		return
	}
	if !l.allowOrigin(w, r) {
		answer(w, http.StatusForbidden, message("pages of this origin may not broadcast: see check_origin"))
		return
	}
	switch r.Method {
	case http.MethodOptions:
		allowCORS(w, r)
		w.WriteHeader(http.StatusOK)
		return
	case http.MethodPost:
	default:
		w.Header().Set("Allow", "POST, OPTIONS")
		answer(w, http.StatusMethodNotAllowed, message("method not allowed"))
		return
	}
	g, ok := l.authorize(w, r)
	if !ok || !l.withinRate(w) {
		return
	}
	if single {
		l.serveSingle(w, r, g, topic, event)
		return
	}
	l.serveBatch(w, r, g)
}

// splitSingle splits "/TOPIC/events/EVENT".
func splitSingle(path string) (topic, event string, ok bool) {
	parts := strings.Split(path, "/")
	if len(parts) != 4 || parts[0] != "" || parts[2] != "events" {
		return "", "", false
	}
	topic, err := url.PathUnescape(parts[1])
	event, err2 := url.PathUnescape(parts[3])
	return topic, event, err == nil && err2 == nil && topic != "" && event != ""
}

// allowOrigin allows the same origins as the socket. Otherwise, where no tokens are needed, any
// page could have its visitors' browsers broadcast from inside their networks.
func (l *logic) allowOrigin(w http.ResponseWriter, r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	check := l.socket.Load().CheckOrigin
	if check == nil {
		check = channels.SameHost
	}
	if err != nil || !check(&channels.Request{URL: absolute(r), Header: r.Header}, u) {
		return false
	}
	w.Header().Set("Access-Control-Allow-Origin", "*")
	return true
}

// absolute returns the URL of a request with its scheme and host.
func absolute(r *http.Request) *url.URL {
	u := *r.URL
	u.Scheme, u.Host = "http", r.Host
	if r.TLS != nil {
		u.Scheme = "https"
	}
	return &u
}

// allowCORS answers a preflight.
func allowCORS(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", "POST, OPTIONS")
	if wanted := r.Header.Get("Access-Control-Request-Headers"); wanted != "" {
		h.Set("Access-Control-Allow-Headers", wanted)
	}
	h.Set("Access-Control-Max-Age", "86400")
}

// authorize returns what a request grants, or answers the request (plugs/auth_tenant.ex).
func (l *logic) authorize(w http.ResponseWriter, r *http.Request) (grant, bool) {
	if l.verifier() == nil {
		return grant{}, true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		token = r.Header.Get("Apikey")
	}
	g, ref := l.verify(r.Context(), token)
	switch {
	case ref == nil:
		return g, true
	case ref.status == http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "5")
		answer(w, ref.status, message(ref.message))
	default:
		answer(w, http.StatusUnauthorized, message("Unauthorized"))
	}
	return g, false
}

// withinRate sets the header fields of the rate, and refuses a request above it
// (plugs/rate_limiter.ex).
func (l *logic) withinRate(w http.ResponseWriter) bool {
	limit := l.config.Load().Limits.Events
	if limit == 0 {
		return true
	}
	above := l.above(&l.rates.events, limit)
	mean := int(l.rates.events.mean.Load())
	w.Header().Set("X-Rate-Rolling", strconv.Itoa(mean))
	w.Header().Set("X-Rate-Limit", strconv.Itoa(limit))
	w.Header().Set("X-Rate-Limit-Remaining", strconv.Itoa(limit-mean))
	if above {
		answer(w, http.StatusTooManyRequests, message("Too many requests"))
	}
	return !above
}

// serveSingle sends one message, whose payload is the body.
func (l *logic) serveSingle(w http.ResponseWriter, r *http.Request, g grant, topic, event string) {
	u := wire.UserBroadcast{Event: event}
	switch kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); {
	case r.Header.Get("Content-Type") == "" || err == nil && kind == "application/json":
		u.JSON = true
	case err != nil || kind != "application/octet-stream":
		answer(w, http.StatusUnsupportedMediaType, map[string]string{"error": "Unsupported Media Type. Use application/json or application/octet-stream"})
		return
	}
	body, ok := readBody(w, r)
	if !ok {
		return
	}
	if u.Data = body; u.JSON {
		if u.Data, ok = singleJSON(w, body); !ok {
			return
		}
	}
	if len(u.Data) > int(l.config.Load().Limits.Payload) {
		answer(w, http.StatusUnprocessableEntity, fieldErrors{Errors: map[string]any{"payload": []string{payloadTooLarge}}})
		return
	}
	private := strings.EqualFold(r.URL.Query().Get("private"), "true")
	if private && !l.rights(r.Context(), topic, g).Write {
		answer(w, http.StatusForbidden, message("Unauthorized"))
		return
	}
	p, err := u.Payload()
	if err != nil {
		answer(w, http.StatusUnprocessableEntity, fieldErrors{Errors: map[string]any{"event": []string{"should be at most 255 byte(s)"}}})
		return
	}
	l.accept(w, l.send(r, topicOf(topic, private), p))
}

// send broadcasts a payload. On a topic with a durable history it waits until that is stored.
func (l *logic) send(r *http.Request, topic string, p wire.Payload) error {
	return l.in.Endpoint().BroadcastStored(r.Context(), topic, "broadcast", p)
}

// singleJSON returns the payload in a JSON body. Anything but an object is wrapped, as Plug
// does.
func singleJSON(w http.ResponseWriter, body []byte) ([]byte, bool) {
	if len(body) == 0 {
		return []byte("{}"), true
	}
	compact, err := wire.Validate(body)
	if err != nil {
		answer(w, http.StatusBadRequest, message("the body is not valid JSON"))
		return nil, false
	}
	if !wire.IsObject(compact) {
		return append(append([]byte(`{"_json":`), compact...), '}'), true
	}
	return compact, true
}

// topicOf returns the topic that a channel has within the server.
func topicOf(name string, private bool) string {
	if private {
		return wire.RealtimePrivate + "realtime:" + name
	}
	return "realtime:" + name
}

const payloadTooLarge = "Payload size exceeds tenant limit"

// fieldErrors are the body of 422.
type fieldErrors struct {
	Errors map[string]any `json:"errors"`
}

func message(text string) map[string]string { return map[string]string{"message": text} }

// readBody returns the body of a request, or answers the request.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		answer(w, http.StatusRequestEntityTooLarge, message("the body is too large"))
	case err != nil:
		answer(w, http.StatusBadRequest, message("the body cannot be read"))
	}
	return body, err == nil
}

// accept answers a request whose broadcasts returned err.
func (l *logic) accept(w http.ResponseWriter, err error) {
	if err != nil {
		l.log.Warn("broadcast over HTTP not sent").Err(err).Write()
		w.Header().Set("Retry-After", "1")
		reason := "overloaded"
		if errors.Is(err, channels.ErrNotStored) {
			reason = "not stored"
		}
		answer(w, http.StatusServiceUnavailable, message(reason))
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body) //nolint:errcheck // the client may have gone
}
