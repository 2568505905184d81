package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// TestForwardedCalls: every node answers every call for an instance that another runs, as
// that node would, and takes its clients, by WebSocket and by polls.
func TestForwardedCalls(t *testing.T) {
	t.Parallel()
	s := startSharing(t)
	wait(t, "talk is created", func() bool {
		status, _ := s.nodes[0].call(t, http.MethodPost, "/api/instances", `{"id":"talk","type":"chat"}`)
		return status == http.StatusCreated || status == http.StatusOK // the store elects its leader
	})
	owner := awaitRunning(t, s.nodes, "talk")
	var far *node // does not run it
	for _, n := range s.nodes {
		if n.name != owner {
			far = n
		}
	}
	c := joinAt(t, far, atTalk, "room:1")
	poll := &poller{t: t, nodes: s.nodes, path: "/socket/talk/longpoll?vsn=2.0.0"}
	poll.get(t, http.StatusGone)
	poll.post(t, `["1","1","room:1","phx_join",{"user":"poll"}]`)
	poll.await(t, `"status\":\"ok\"`)

	for _, n := range s.nodes {
		if status, text := n.call(t, http.MethodPost, "/api/instances/talk/broadcast", `{"topic":"room:1","event":"notice","payload":{"by":"`+n.name+`"}}`); status != http.StatusNoContent {
			t.Fatalf("broadcast by %s: %d %s", n.name, status, text)
		}
		expect(t, c.Client, `"notice",{"by":"`+n.name+`"}`)
		poll.await(t, `\"notice\",{\"by\":\"`+n.name+`\"}`)
		status, text := n.call(t, http.MethodGet, "/api/instances/talk/sockets", "")
		var list struct{ Sockets []struct{ Transport string } }
		if err := json.Unmarshal([]byte(text), &list); status != http.StatusOK || err != nil || len(list.Sockets) != 2 {
			t.Errorf("sockets by %s: %d %s", n.name, status, text)
		}
		for _, path := range []string{"stats", "topics", "presence?topic=room:1"} {
			if status, text := n.call(t, http.MethodGet, "/api/instances/talk/"+path, ""); status != http.StatusOK {
				t.Errorf("%s by %s: %d %s", path, n.name, status, text)
			}
		}
		if status, text := n.call(t, http.MethodPost, "/api/instances/talk/signal", `{"name":"none"}`); status != http.StatusUnprocessableEntity {
			t.Errorf("an unknown signal by %s: %d %s", n.name, status, text)
		}
		if status, text := n.call(t, http.MethodPost, "/api/instances/talk/broadcast", `{"topic":""}`); status != http.StatusUnprocessableEntity {
			t.Errorf("a wrong broadcast by %s: %d %s", n.name, status, text)
		}
	}
}

// poller polls an instance, each time by another node.
type poller struct {
	t     *testing.T
	nodes []*node
	path  string
	token string
	turn  int
	inbox []string
}

type polled struct {
	Status   int
	Token    string
	Messages []string
}

func (p *poller) do(t *testing.T, method, body string) (a polled) {
	t.Helper()
	p.turn++
	r, err := http.NewRequest(method, "http://"+p.nodes[p.turn%len(p.nodes)].addr+p.path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Phoenix-Longpoll-Token", p.token)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&a); err != nil {
		t.Fatal(err)
	}
	return a
}

func (p *poller) get(t *testing.T, status int) {
	t.Helper()
	a := p.do(t, http.MethodGet, "")
	if a.Status != status {
		t.Fatalf("a poll: %+v, want %d", a, status)
	}
	p.token, p.inbox = a.Token, append(p.inbox, a.Messages...)
}

func (p *poller) post(t *testing.T, body string) {
	t.Helper()
	if a := p.do(t, http.MethodPost, body); a.Status != http.StatusOK {
		t.Fatalf("a post: %+v", a)
	}
}

// await polls until a message contains text.
func (p *poller) await(t *testing.T, text string) {
	t.Helper()
	text = strings.ReplaceAll(text, `\"`, `"`)
	for {
		for i, m := range p.inbox {
			if strings.Contains(m, text) {
				p.inbox = p.inbox[i+1:]
				return
			}
		}
		p.inbox = nil
		p.get(t, http.StatusOK)
	}
}
