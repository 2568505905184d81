package scale

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// guest is a client of a soak, from connecting to its end.
type guest struct {
	soak   *soak
	r      *rand.Rand
	name   string
	manner *manner
	conn   *wstest.Client
	refs   int
}

// manner is a way to behave as a client. An error is something that the server did wrong.
type manner struct {
	name   string
	weight int
	live   func(g *guest) error
}

var manners = []manner{
	{"polite", 45, (*guest).polite},
	{"abrupt", 15, (*guest).abrupt},
	{"wanderer", 10, (*guest).wander},
	{"poller", 10, (*guest).poll},
	{"half-open", 5, (*guest).fallSilent},
	{"slow", 5, (*guest).readNothing},
	{"half a head", 3, (*guest).sendHalf},
	{"garbage", 7, (*guest).sendGarbage},
}

// live chooses a manner and runs it.
func (g *guest) live() {
	n := g.r.IntN(100)
	for i := range manners {
		if n -= manners[i].weight; n < 0 {
			g.manner = &manners[i]
			g.soak.counts[i].Add(1)
			break
		}
	}
	if err := g.manner.live(g); err != nil {
		g.soak.fail(g, err)
	}
	if g.conn != nil {
		g.conn.Drop()
	}
}

// room returns one of twenty rooms, each with dozens of guests and their presences.
func (g *guest) room() string { return fmt.Sprintf("room:%d", g.r.IntN(20)) }

func (g *guest) pause() { time.Sleep(time.Duration(g.r.IntN(500)) * time.Millisecond) }

func (g *guest) connect() (err error) {
	g.conn, err = wstest.Dial(g.soak.addr, "/socket/websocket?vsn=2.0.0&user="+g.name, nil)
	if err != nil {
		return err
	}
	g.conn.Timeout = patience
	return nil
}

// call pushes and waits for the reply, skipping messages of others.
func (g *guest) call(topic, event, payload string) error {
	g.refs++
	ref := fmt.Sprintf("r%d", g.refs)
	err := g.conn.WriteText(fmt.Sprintf(`["j",%q,%q,%q,%s]`, ref, topic, event, payload))
	if err != nil {
		return err
	}
	own := false
	for {
		_, text, err := g.conn.ReadMessage()
		if err != nil {
			return fmt.Errorf("waiting for the reply to %s: %w", event, err)
		}
		m, ok := parseMessage(text)
		switch {
		case !ok:
			return fmt.Errorf("not a message: %.200q", text)
		case m.ref == ref && m.event == "phx_reply":
			if string(m.payload) != okReply {
				return fmt.Errorf("%s was answered with %v", event, m)
			}
			if event == "chat" && !own {
				return errors.New("the reply came before the guest's own message")
			}
			return nil
		case m.event == "chat" && bytes.Contains(m.payload, []byte(`"`+g.name+`"`)):
			own = true
		}
	}
}

func (g *guest) join(topic string) error {
	return g.call(topic, "phx_join", `{"user":"`+g.name+`"}`)
}

// chat sends up to most messages.
func (g *guest) chat(topic string, most int) error {
	for range 1 + g.r.IntN(most) {
		g.pause()
		if err := g.call(topic, "chat", fmt.Sprintf(`{"from":%q,"body":%q}`, g.name, strings.Repeat("x", g.r.IntN(300)))); err != nil {
			return err
		}
	}
	return nil
}

// visit joins a room and chats.
func (g *guest) visit(most int) (topic string, err error) {
	topic = g.room()
	if err = g.join(topic); err == nil {
		err = g.chat(topic, most)
	}
	return topic, err
}

// polite usually leaves, then closes.
func (g *guest) polite() error {
	if err := g.connect(); err != nil {
		return err
	}
	topic, err := g.visit(8)
	if err == nil && g.r.IntN(4) > 0 {
		err = g.call(topic, "phx_leave", "{}")
	}
	if err != nil {
		return err
	}
	return g.conn.Close()
}

// abrupt disconnects in the middle, with or without a reset.
func (g *guest) abrupt() error {
	if err := g.connect(); err != nil {
		return err
	}
	if _, err := g.visit(8); err != nil {
		return err
	}
	if g.r.IntN(2) == 0 {
		g.conn.Conn().(*net.TCPConn).SetLinger(0)
	}
	if g.r.IntN(2) == 0 {
		g.conn.WriteText(`["j","last","` + g.room() + `","chat",{}]`) // nobody waits for it
	}
	return nil
}

// wander joins rooms one after the other, is in several at once, and joins some again.
func (g *guest) wander() error {
	if err := g.connect(); err != nil {
		return err
	}
	for range 3 + g.r.IntN(4) {
		topic, err := g.visit(2)
		if err == nil && g.r.IntN(3) == 0 {
			err = g.call(topic, "phx_leave", "{}")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// fallSilent sends nothing more, and expects to be closed.
func (g *guest) fallSilent() error {
	if err := g.connect(); err != nil {
		return err
	}
	if err := g.join(g.room()); err != nil {
		return err
	}
	begun := time.Now()
	var closed *wstest.CloseError
	for closed == nil {
		if _, _, err := g.conn.ReadMessage(); err != nil && !errors.As(err, &closed) {
			return fmt.Errorf("the silent one was closed with %w", err)
		}
	}
	if silent := time.Since(begun); silent < soakIdle/2 || closed.Code != 1002 {
		return fmt.Errorf("the silent one was closed after %v with %d", silent, closed.Code)
	}
	return nil
}

// readNothing does not read its own messages until it is cut off.
func (g *guest) readNothing() error {
	conn, err := (&net.Dialer{Control: smallReceiveBuffer}).Dial("tcp", g.soak.addr)
	if err != nil {
		return err
	}
	if g.conn, err = wstest.NewClient(conn, "/socket/websocket?vsn=2.0.0", nil); err != nil {
		conn.Close()
		return err
	}
	topic := "alone:" + g.name
	if err := g.join(topic); err != nil {
		return err
	}
	big := `["j",null,"` + topic + `","chat",{"body":"` + strings.Repeat("x", 16<<10) + `"}]`
	for sent := 0; sent < 64<<20; sent += len(big) {
		if err := g.conn.WriteText(big); err != nil {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return errors.New("a client that reads nothing was not cut off")
}

// sendHalf sends half of a request and disconnects, or is refused.
func (g *guest) sendHalf() (err error) {
	if g.conn, err = wstest.Connect(g.soak.addr); err != nil {
		return err
	}
	head := wstest.AppendHandshake(nil, "/socket/websocket?vsn=2.0.0", nil)
	if err := g.conn.WriteRaw(head[:1+g.r.IntN(len(head)-1)]); err != nil {
		return err
	}
	g.pause()
	return nil
}

// garbage is sent after a handshake or instead of one.
var garbage = []string{
	"\x00\x01\x02\x03 not HTTP at all\r\n\r\n",
	"GET /socket/websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\r\n",
	"POST /socket/websocket HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nshort",
	"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: " + strings.Repeat("x", 20_000) + "\r\n\r\n",
}

// sendGarbage sends garbage, and expects to be closed.
func (g *guest) sendGarbage() (err error) {
	if g.r.IntN(2) == 0 {
		if g.conn, err = wstest.Connect(g.soak.addr); err != nil {
			return err
		}
		g.conn.WriteRaw([]byte(garbage[g.r.IntN(len(garbage))]))
		g.conn.Conn().(*net.TCPConn).CloseWrite()
	} else {
		if err = g.connect(); err != nil {
			return err
		}
		if err = g.join(g.room()); err != nil {
			return err
		}
		if g.r.IntN(2) == 0 {
			g.conn.WriteText(`["j","r","room:1"`)
		} else {
			g.conn.WriteRaw([]byte("\x81\x05hello")) // not masked
		}
	}
	g.conn.Conn().SetReadDeadline(time.Now().Add(patience))
	_, err = io.Copy(io.Discard, g.conn.Conn())
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return errors.New("garbage did not close the connection")
	}
	return nil // a reset is fine too
}

// poll chats by long polling, and leaves or just stops polling.
func (g *guest) poll() error {
	token, _, err := g.request(http.MethodGet, "", "")
	if err != nil {
		return err
	}
	topic := g.room()
	send := func(event, payload string) error {
		_, _, err := g.request(http.MethodPost, token, fmt.Sprintf(`["j",%q,%q,%q,%s]`, event, topic, event, payload))
		return err
	}
	if err := send("phx_join", `{"user":"`+g.name+`"}`); err != nil {
		return err
	}
	for range 1 + g.r.IntN(6) {
		if err := send("chat", `{"from":"`+g.name+`"}`); err != nil {
			return err
		}
		for own := false; !own; {
			var messages []string
			if token, messages, err = g.request(http.MethodGet, token, ""); err != nil {
				return err
			}
			for _, m := range messages {
				own = own || strings.Contains(m, `{"from":"`+g.name+`"}`)
			}
		}
		g.pause()
	}
	if g.r.IntN(2) == 0 {
		return send("phx_leave", "{}")
	}
	return nil
}

// request makes a long-poll request. A POST returns the token that it was given.
func (g *guest) request(method, token, body string) (string, []string, error) {
	r, err := http.NewRequest(method, "http://"+g.soak.addr+"/socket/longpoll?vsn=2.0.0", strings.NewReader(body))
	if err != nil {
		return "", nil, err
	}
	if token != "" {
		r.Header.Set("X-Phoenix-Longpoll-Token", token)
		r.Header.Set("Content-Type", "application/x-ndjson")
	}
	response, err := g.soak.polls.Do(r)
	if err != nil {
		return "", nil, err
	}
	defer response.Body.Close()
	var answer struct {
		Status   int
		Token    string
		Messages []string
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return "", nil, err
	}
	opened := token == "" && answer.Status == http.StatusGone
	if answer.Status != http.StatusOK && answer.Status != http.StatusNoContent && !opened {
		return "", nil, fmt.Errorf("%s of long polling was answered with %+v", method, answer)
	}
	if answer.Token == "" {
		answer.Token = token
	}
	return answer.Token, answer.Messages, nil
}
