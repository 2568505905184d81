//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/webhook"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// eventKills is how often TestEventsOfKilledServers kills the server.
const eventKills = "MYCELIUM_EVENT_KILLS"

// toldEvent is an event as the back end of a test reads it.
type toldEvent struct {
	ID, Type, Topic, Client, Event, Reason string
	Payload                                struct{ Publisher, N int }
}

// ear is a back end that is told, and that fails now and then.
type ear struct {
	t      *testing.T
	secret webhook.Secret
	http   *httptest.Server

	mu     sync.Mutex
	seen   map[string]bool
	events []toldEvent // each once
	twice  int
}

func newEar(t *testing.T, secret string) *ear {
	t.Helper()
	parsed, err := webhook.ParseSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	e := &ear{t: t, secret: parsed, seen: make(map[string]bool)}
	e.http = httptest.NewServer(e)
	t.Cleanup(e.http.Close)
	return e
}

// ServeHTTP takes a batch, or answers 500 before or after it has taken it.
func (e *ear) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the server was killed while it sent
	}
	if err := webhook.Verify(r.Header, body, time.Now(), e.secret); err != nil {
		e.t.Errorf("a request is not signed: %v", err)
	}
	luck := rand.IntN(10)
	if luck == 0 {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	var batch struct{ Events []toldEvent }
	if err := json.Unmarshal(body, &batch); err != nil {
		e.t.Errorf("%v: %s", err, body)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, one := range batch.Events {
		if e.seen[one.ID] {
			e.twice++
			continue
		}
		e.seen[one.ID] = true
		e.events = append(e.events, one)
	}
	if luck == 1 {
		w.WriteHeader(http.StatusBadGateway)
	}
}

func (e *ear) list() []toldEvent {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.events)
}

// hookConfig writes a configuration whose default instance tells a back end.
func hookConfig(t *testing.T, url, secret, on string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "mycelium.yaml")
	text := fmt.Sprintf("hooks:\n  - name: app\n    url: %s\n    secret: %s\n    on: [%s]\n", url, secret, on)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// joinOnce connects, joins a topic and returns when that is answered.
func joinOnce(addr, topic string) (c *wstest.Client, err error) {
	if c, err = wstest.Dial(addr, "/socket/websocket?vsn=2.0.0", nil); err != nil {
		return nil, err
	}
	if err = c.WriteText(`["1","1","` + topic + `","phx_join",{}]`); err == nil {
		for {
			var text []byte
			if _, text, err = c.ReadMessage(); err != nil || strings.Contains(string(text), `"status":"ok"`) {
				break
			}
		}
	}
	if err != nil {
		c.Drop()
		return nil, err
	}
	return c, nil
}

// TestEventsOfKilledServers kills a server with SIGKILL again and again, while clients join
// and messages are published: the back end is told everything that was answered, each topic
// in order, and in the end that everybody is gone.
func TestEventsOfKilledServers(t *testing.T) {
	t.Parallel()
	rounds := 6
	if text := os.Getenv(eventKills); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatalf("%s: %v", eventKills, err)
		}
	}
	secret := webhook.NewSecret()
	back := newEar(t, secret)
	dir, file := t.TempDir(), hookConfig(t, back.http.URL, secret, "connected, disconnected, joined, left, occupied, vacated, published")
	const publishers = 3
	var mu sync.Mutex
	answered := make(map[int][]int) // by publisher
	var joins []string
	for round := range rounds {
		p := launch(t, dir, "--config="+file)
		p.listening(t)
		var all sync.WaitGroup
		for who := range publishers {
			all.Go(func() {
				for n := round * 1_000_000; ; n++ {
					body := fmt.Sprintf(`{"topic":"room:%d","event":"m","payload":{"publisher":%d,"n":%d}}`, who, who, n)
					r, err := http.NewRequest(http.MethodPost, "http://"+p.addr+"/api/instances/default/broadcast", strings.NewReader(body))
					if err != nil {
						t.Error(err)
						return
					}
					r.Header.Set("Authorization", "Bearer "+p.key)
					r.Header.Set("Content-Type", "application/json")
					answer, err := p.client.Do(r)
					if err != nil {
						return // killed
					}
					answer.Body.Close()
					if answer.StatusCode == http.StatusNoContent {
						mu.Lock()
						answered[who] = append(answered[who], n)
						mu.Unlock()
					}
				}
			})
		}
		all.Go(func() {
			for n := 0; ; n++ {
				topic := fmt.Sprintf("hall:%d-%d", round, n)
				c, err := joinOnce(p.addr, topic)
				if err != nil {
					return // killed
				}
				defer c.Drop()
				mu.Lock()
				joins = append(joins, topic)
				mu.Unlock()
			}
		})
		time.Sleep(time.Duration(rand.IntN(700)) * time.Millisecond)
		p.kill(t)
		all.Wait()
	}
	last := launch(t, dir, "--config="+file)
	last.listening(t)
	checkTold(t, back, answered, joins)
	last.kill(t)
	t.Logf("%d kills: %d events, %d told twice, %d joins", rounds, len(back.list()), back.twice, len(joins))
}

// checkTold waits until the back end knows everything.
func checkTold(t *testing.T, back *ear, answered map[int][]int, joins []string) {
	t.Helper()
	var problem string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if problem = missing(back.list(), answered, joins); problem == "" {
			return
		}
	}
	t.Error(problem)
}

// missing returns what a back end has not been told, or was told wrongly; "": nothing.
func missing(events []toldEvent, answered map[int][]int, joins []string) string {
	published := make(map[int][]int)
	open := make(map[string]int)
	joined := make(map[string]bool)
	for _, e := range events {
		switch e.Type {
		case "published":
			published[e.Payload.Publisher] = append(published[e.Payload.Publisher], e.Payload.N)
		case "connected":
			open[e.Client]++
		case "disconnected":
			open[e.Client]--
		case "joined":
			joined[e.Topic] = true
			open[e.Client+" "+e.Topic]++
		case "left":
			open[e.Client+" "+e.Topic]--
		case "occupied":
			open[e.Topic]++
		case "vacated":
			open[e.Topic]--
		case "lost":
			return "events were lost"
		}
	}
	for who, numbers := range answered {
		if !slices.IsSorted(published[who]) {
			return fmt.Sprintf("the messages of publisher %d came out of order", who)
		}
		for _, n := range numbers {
			if _, found := slices.BinarySearch(published[who], n); !found {
				return fmt.Sprintf("message %d of publisher %d was answered and not told", n, who)
			}
		}
	}
	for _, topic := range joins {
		if !joined[topic] {
			return "the join of " + topic + " was answered and not told"
		}
	}
	for what, n := range open {
		if n != 0 {
			return fmt.Sprintf("%s has begun %d times more than ended", what, n)
		}
	}
	return ""
}
