package realtime_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/instances/realtime"
)

const single = "/socket/one/api/broadcast/r/events/e"

// TestSingle: one message over HTTP, as JSON and as bytes.
func TestSingle(t *testing.T) {
	s := start(t, `{"limits":{"payload_bytes":50}}`, tokens(t))
	ada := userToken("ada", time.Hour, "r")
	v2, private := s.connect("2.0.0", ada).joins("{}"), s.connect("2.0.0", ada).joins(`{"private":true}`)
	v1 := s.connect("1.0.0", ada)
	v1.send(`{"topic":"realtime:r","event":"phx_join","payload":{"config":{}},"ref":"1"}`)
	v1.want(`{"event":"phx_reply","payload":{"response":{"postgres_changes":[]},"status":"ok"},"ref":"1","topic":"realtime:r"}`)
	for _, test := range []struct {
		path, kind, bearer, body string
		status                   int
		answer                   string
		to                       *peer
		arrives                  string
	}{
		{single, "application/json", ada, ` {"x": 1} `, 202, "", v2, kind4("realtime:r", "e", 1, `{"x":1}`)},
		{single, "application/json; charset=utf-8", ada, "", 202, "", v2, kind4("realtime:r", "e", 1, `{}`)},
		{single, "", ada, "[1]", 202, "", v2, kind4("realtime:r", "e", 1, `{"_json":[1]}`)},
		{single, "application/octet-stream", ada, "\x00\xff", 202, "", v2, kind4("realtime:r", "e", 0, "\x00\xff")},
		{single + "?private=true", "application/json", ada, `{}`, 202, "", private, kind4("realtime:r", "e", 1, `{}`)},
		{strings.Replace(single, "/r/", "/r%2Fs/", 1), "application/json", ada, `{}`, 202, "", nil, ""},
		{single, "application/json", ada, `{"x":`, 400, `{"message":"the body is not valid JSON"}`, nil, ""},
		{single, "text/plain", ada, `{}`, 415, `{"error":"Unsupported Media Type. Use application/json or application/octet-stream"}`, nil, ""},
		{single, "application/octet-stream", ada, strings.Repeat("x", 51), 422, `{"errors":{"payload":["Payload size exceeds tenant limit"]}}`, nil, ""},
		{strings.Replace(single, "/events/e", "/events/"+strings.Repeat("e", 256), 1), "application/json", ada, "{}", 422, `{"errors":{"event":["should be at most 255 byte(s)"]}}`, nil, ""},
		{single, "application/octet-stream", ada, strings.Repeat("x", 8_000_001), 413, `{"message":"the body is too large"}`, nil, ""},
		{single, "application/json", "", "{}", 401, `{"message":"Unauthorized"}`, nil, ""},
		{single, "application/json", userToken("ada", -time.Hour), "{}", 401, `{"message":"Unauthorized"}`, nil, ""},
		{single + "?private=true", "application/json", userToken("eve", time.Hour), "{}", 403, `{"message":"Unauthorized"}`, nil, ""},
		{single + "/more", "application/json", ada, "{}", 404, `{"message":"not found"}`, nil, ""},
		{"/socket/one/api/other", "application/json", ada, "{}", 404, `{"message":"not found"}`, nil, ""},
	} {
		status, body, _ := s.post(test.path, test.kind, test.bearer, test.body)
		if status != test.status || body != test.answer {
			t.Errorf("POST %s of %.20q as %q: %d %s; want %d %s", test.path, test.body, test.kind, status, body, test.status, test.answer)
		}
		if test.to != nil {
			test.to.want(test.arrives)
		}
	}
	for _, payload := range []string{`{"x":1}`, `{}`, `{"_json":[1]}`} { // the bytes are left out
		v1.want(`{"event":"broadcast","payload":{"event":"e","payload":` + payload + `,"type":"broadcast"},"ref":null,"topic":"realtime:r"}`)
	}
	v2.silent()
	private.silent()
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.addr+single, strings.NewReader("{}"))
	r.Header.Set("Apikey", ada)
	r.Header.Set("Content-Type", "application/json")
	if status, body, _ := s.do(r); status != 202 {
		t.Errorf("with the header apikey: %d %s", status, body)
	}
}

// TestBatch: several messages, private ones among them.
func TestBatch(t *testing.T) {
	s := start(t, `{"limits":{"payload_bytes":50}}`, tokens(t))
	const path = "/socket/one/api/broadcast"
	ada := userToken("ada", time.Hour, "r")
	public, private := s.connect("2.0.0", ada).joins("{}"), s.connect("2.0.0", ada).joins(`{"private":true}`)
	const batch = `{"messages":[{"topic":"r","event":"e","payload":{"x": 1},"id":"7"},{"topic":"r","event":"p","payload":{},"private":true},{"topic":"r","event":"last","payload":{}}]}`
	for _, bearer := range []string{ada, userToken("eve", time.Hour)} {
		if status, body, _ := s.post(path, "application/json", bearer, batch); status != 202 || body != "" {
			t.Fatalf("%d %s", status, body)
		}
		public.want(`[null,null,"realtime:r","broadcast",{"event":"e","meta":{"id":"7"},"payload":{"x":1},"type":"broadcast"}]`)
		public.want(`[null,null,"realtime:r","broadcast",{"event":"last","payload":{},"type":"broadcast"}]`)
		if bearer == ada {
			private.want(`[null,null,"realtime:r","broadcast",{"event":"p","payload":{},"type":"broadcast"}]`)
		}
		private.silent() // what eve may not send is left out silently
	}
	large := `"` + strings.Repeat("x", 50) + `"`
	for body, answer := range map[string]string{
		`{}`:             `{"errors":{"messages":["can't be blank"]}}`,
		`[]`:             `{"errors":{"messages":["can't be blank"]}}`,
		`{"messages":5}`: `{"errors":{"messages":["is invalid"]}}`,
		`{"messages":[{"topic":"r"},{"topic":"r","event":"e","payload":{}}]}`:    `{"errors":{"messages":[{"event":["can't be blank"],"payload":["can't be blank"]},{}]}}`,
		`{"messages":[{"topic":" ","event":5,"payload":[]}]}`:                    `{"errors":{"messages":[{"event":["is invalid"],"payload":["is invalid"],"topic":["can't be blank"]}]}}`,
		`{"messages":[{"topic":"r","event":"e","payload":{"x":` + large + `}}]}`: `{"errors":{"messages":[{"payload":["Payload size exceeds tenant limit"]}]}}`,
		`{"messages":[null]}`: `{"errors":{"messages":[{"event":["can't be blank"],"payload":["can't be blank"],"topic":["can't be blank"]}]}}`,
	} {
		if status, got, _ := s.post(path, "application/json", ada, body); status != 422 || got != answer {
			t.Errorf("%s: %d %s\nwant %s", body, status, got, answer)
		}
	}
	if status, body, _ := s.post(path, "application/json", ada, "{"); status != 400 || body != `{"message":"the body is not valid JSON"}` {
		t.Errorf("no JSON: %d %s", status, body)
	}
	public.silent()
}

// clock is a time that tests move.
type clock struct{ seconds atomic.Int64 }

func (c *clock) now() time.Time { return time.Unix(c.seconds.Load(), 0) }

// TestRates: what exceeds the rates of the instance is refused, in Supabase's words.
func TestRates(t *testing.T) {
	c := new(clock)
	s := start(t, `{"limits":{"events_per_second":5,"joins_per_second":1,"presence_events_per_second":1}}`, realtime.WithClock(realtime.Options{}, c.now))
	const path = "/socket/one/api/broadcast"
	p, loud := s.connect("2.0.0", "any").joins("{}"), s.connect("2.0.0", "any").joins("{}")
	message := `{"topic":"r","event":"e","payload":{}},`
	batch := func(n int) string {
		return `{"messages":[` + strings.TrimSuffix(strings.Repeat(message, n), ",") + `]}`
	}
	status, _, header := s.post(path, "application/json", "", batch(5))
	if status != 202 || header.Get("X-Rate-Limit") != "5" || header.Get("X-Rate-Limit-Remaining") != "5" || header.Get("X-Rate-Rolling") != "0" {
		t.Errorf("a small batch: %d, %v", status, header)
	}
	if status, body, _ := s.post(path, "application/json", "", batch(6)); status != 429 || body != `{"message":"Too many messages to broadcast, please reduce the batch size"}` {
		t.Errorf("a large batch: %d %s", status, body)
	}
	for range 5 {
		p.want(`[null,null,"realtime:r","broadcast",{"event":"e","payload":{},"type":"broadcast"}]`)
		loud.want(`[null,null,"realtime:r","broadcast",{"event":"e","payload":{},"type":"broadcast"}]`)
	}
	loud.send(`["1","5","realtime:r","presence",{"event":"track"}]`) // the mean of presences is asked for
	for _, p := range []*peer{p, loud} {
		p.want(`[null,null,"realtime:r","presence_diff",{"joins":{"UUID":{"metas":[{"phx_ref":"REF"}]}},"leaves":{}}]`)
	}
	loud.want(`["1","5","realtime:r","phx_reply",{"response":{},"status":"ok"}]`)
	for range 300 {
		loud.send(kind3("2", "realtime:r", "e", 1, "1"))
		p.want(kind4("realtime:r", "e", 1, "1"))
	}
	for n := range 70 {
		loud.send(fmt.Sprintf(`["1","5","realtime:r","presence",{"event":"track","payload":{"n":%d}}]`, n))
		loud.until(`"phx_reply",{"response":{},"status":"ok"}`)
	}
	for n := range 70 {
		loud.send(fmt.Sprintf(`["x%d","x%d","realtime:other","phx_join",{"config":{}}]`, n, n))
		loud.until(fmt.Sprintf(`["x%d","x%d","realtime:other","phx_reply"`, n, n))
	}
	c.seconds.Add(6)
	if status, body, _ := s.post(path, "application/json", "", batch(1)); status != 429 || body != `{"message":"Too many requests"}` {
		t.Errorf("above the rate: %d %s", status, body)
	}
	loud.send(`["1","5","realtime:r","presence",{"event":"track","payload":{}}]`)
	loud.until(system("error", "system", "Too many presence messages per second"))
	p.send(kind3("2", "realtime:r", "e", 1, "1"))
	p.until(system("error", "system", "Too many messages per second"))
	p.send(`["2","2","realtime:s","phx_join",{"config":{}}]`)
	p.until(`["2","2","realtime:s","phx_reply",{"response":{"reason":"ClientJoinRateLimitReached: Too many joins per second"},"status":"error"}]`)
	p.until("") // and the connection is closed
}

// TestCORS: pages that may connect may also broadcast.
func TestCORS(t *testing.T) {
	s := start(t, "", realtime.Options{})
	for origin, allowed := range map[string]bool{"http://" + s.addr: true, "http://evil.example": false} {
		for method, want := range map[string]int{http.MethodOptions: 200, http.MethodPost: 202, http.MethodGet: 405} {
			r, _ := http.NewRequestWithContext(t.Context(), method, "http://"+s.addr+single, strings.NewReader("{}"))
			r.Header.Set("Origin", origin)
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Access-Control-Request-Headers", "apikey, content-type")
			status, body, header := s.do(r)
			if !allowed {
				want = 403
			}
			if status != want || (header.Get("Access-Control-Allow-Origin") == "*") != allowed {
				t.Errorf("%s from %s: %d %s, %v", method, origin, status, body, header)
			}
			if headers := header.Get("Access-Control-Allow-Headers"); status == 200 && headers != "apikey, content-type" {
				t.Errorf("a preflight allows the fields %q", headers)
			}
		}
	}
}

// TestWhatIsNotStoredIsNotAccepted: on a topic with a durable history the answer waits for the
// store.
func TestWhatIsNotStoredIsNotAccepted(t *testing.T) {
	s := start(t, "{}", realtime.Options{})
	const path, want = "/socket/one/api/broadcast", `{"message":"not stored"}`
	if status, body, _ := s.post(path+"/stored/events/e", "application/json", "", "{}"); status != 503 || body != want {
		t.Errorf("one: %d %s", status, body)
	}
	if status, body, _ := s.post(path, "application/json", "", `{"messages":[{"topic":"r","event":"e","payload":{}},{"topic":"stored","event":"e","payload":{}}]}`); status != 503 || body != want {
		t.Errorf("a batch: %d %s", status, body)
	}
}
