//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// talker says numbers in a chat room, and knows which of them were answered.
type talker struct {
	t    *testing.T
	next int
	ok   map[int]int64 // the ids of those that were answered ok
	open []int         // not answered: said again with the same key
}

// enter joins the room and returns the messages of its backlog.
func (k *talker) enter(addr string) (*wstest.Client, []chatMessage) {
	k.t.Helper()
	c, err := wstest.Dial(addr, "/socket/talk/websocket?vsn=2.0.0", nil)
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { _ = c.Drop() })
	c.Timeout = patience
	if err := c.WriteText(`["1","1","room:1","phx_join",{"user":"ada"}]`); err != nil {
		k.t.Fatal(err)
	}
	for {
		_, data, err := c.ReadMessage()
		if err != nil {
			k.t.Fatal(err)
		}
		if _, payload, ok := strings.Cut(string(data), `"backlog",`); ok {
			var b struct {
				Messages []chatMessage
				Complete bool
			}
			if err := json.Unmarshal([]byte(strings.TrimSuffix(payload, "]")), &b); err != nil {
				k.t.Fatal(err)
			}
			if !b.Complete {
				k.t.Error("the backlog says that it is not complete")
			}
			return c, b.Messages
		}
	}
}

type chatMessage struct {
	ID   int64
	Body string
}

// check wants all that was answered ok in a backlog, once and under its id. Nothing else may come twice either.
func (k *talker) check(backlog []chatMessage) {
	k.t.Helper()
	ids := make(map[int]int64)
	for i, m := range backlog {
		n, err := strconv.Atoi(m.Body)
		if err != nil {
			k.t.Fatal(err)
		}
		if ids[n] != 0 {
			k.t.Errorf("%d is there twice", n)
		}
		if i > 0 && m.ID <= backlog[i-1].ID {
			k.t.Errorf("%d is behind one with a larger id", n)
		}
		ids[n] = m.ID
	}
	for n, id := range k.ok {
		if ids[n] != id {
			k.t.Errorf("%d was answered ok with the id %d; the backlog has it with %d", n, id, ids[n])
		}
	}
}

// talk says numbers until the connection breaks: at most so many, and first those that were not
// answered before. enough is closed when some were answered.
func (k *talker) talk(c *wstest.Client, most int, enough chan<- struct{}) {
	asked := slices.Clone(k.open)
	for len(asked) < most {
		asked = append(asked, k.next)
		k.next++
	}
	room := make(chan struct{}, 16) // as many are outstanding
	broken := make(chan struct{})
	written := make(chan struct{})
	go func() {
		defer close(written)
		for _, n := range asked {
			select {
			case room <- struct{}{}:
			case <-broken:
				return
			}
			if c.WriteText(fmt.Sprintf(`["1","n%d","room:1","new_msg",{"body":"%d","key":"%d"}]`, n, n, n)) != nil {
				return
			}
		}
	}()
	for answers := 0; ; {
		_, data, err := c.ReadMessage()
		if err != nil {
			break
		}
		ref, found := strings.CutPrefix(string(data), `["1","n`)
		if !found {
			continue
		}
		number, rest, _ := strings.Cut(ref, `"`)
		n, _ := strconv.Atoi(number)
		_, id, _ := strings.Cut(rest, `"id":`)
		if !strings.Contains(rest, `"status":"ok"`) {
			k.t.Errorf("refused: %s", data)
		}
		var sent int64
		fmt.Sscan(id, &sent)
		k.ok[n] = sent
		<-room
		if answers++; answers == 20 {
			close(enough)
		}
	}
	close(broken)
	<-written
	k.open = slices.DeleteFunc(asked, func(n int) bool { return k.ok[n] != 0 })
}

// TestKilledChat kills a server again and again while somebody talks in a room whose history is
// durable. What was answered ok is in the backlog afterwards, and what is said again with
// its key, because it was not answered, is there once.
func TestKilledChat(t *testing.T) {
	t.Parallel()
	config, dir := filepath.Join(t.TempDir(), "mycelium.yaml"), t.TempDir()
	writeFile(t, config, "limits: {messages_per_second: 1000000}\nhistory: {disk: 64MiB}\n")
	k := &talker{t: t, ok: make(map[int]int64)}
	rounds := min(40, killRounds(t, 3))
	for round := range rounds {
		p := launch(t, dir, "--config="+config)
		p.listening(t)
		if round == 0 {
			spec := `{"id":"talk","type":"chat","history":[{"topics":["room:*"],"messages":10000,"bytes":4194304,"age":"24h","durable":true}]}`
			if _, err := p.do(ask{method: http.MethodPost, path: "/api/instances", body: spec}, http.StatusCreated); err != nil {
				t.Fatal(err)
			}
		}
		c, backlog := k.enter(p.addr)
		k.check(backlog)
		wait(t, "the store is open", func() bool { return strings.Contains(p.log.String(), "the durable history is open") })
		ended, enough := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			k.talk(c, 240, enough)
		}()
		select {
		case <-enough:
		case <-time.After(patience):
			t.Error("nothing is answered")
		}
		time.Sleep(time.Duration(rand.IntN(5000)) * time.Microsecond)
		p.kill(t)
		<-ended
		if t.Failed() {
			t.Fatal(p.log)
		}
	}
	p := launch(t, dir, "--config="+config)
	defer p.kill(t)
	p.listening(t)
	_, backlog := k.enter(p.addr)
	k.check(backlog)
	t.Logf("%d kills: %d messages answered ok, none missing; %d not answered", rounds, len(k.ok), len(k.open))
}
