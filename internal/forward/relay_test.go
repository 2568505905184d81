package forward

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// relayed starts a server whose requests the relay function has another one answer, and returns its address.
func relayed(t *testing.T, answer http.HandlerFunc, relay func(e *Elsewhere, w http.ResponseWriter, r *http.Request)) string {
	t.Helper()
	n := newNode(t, "a", true)
	other := httptest.NewServer(answer)
	t.Cleanup(other.Close)
	own := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		relay(n.Elsewhere("b", other.Listener.Addr().String()), w, r)
	}))
	t.Cleanup(own.Close)
	return own.Listener.Addr().String()
}

// ask sends the head of a GET with header lines, and returns the answer.
func ask(t *testing.T, addr, lines string) (status int, body string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintf(c, "GET /poll HTTP/1.1\r\nHost: a\r\n%s\r\n", lines)
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

func notForwarded(t *testing.T) func(error) { return func(err error) { t.Error(err) } }

// TestRelayUpgrade: a request to change the protocol does not reach the other node.
func TestRelayUpgrade(t *testing.T) {
	addr := relayed(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%q %q", r.Header["Connection"], r.Header["Upgrade"])
	}, func(e *Elsewhere, w http.ResponseWriter, r *http.Request) { e.Relay(w, r, Claim{}, notForwarded(t)) })
	if status, body := ask(t, addr, "Connection: Upgrade\r\nUpgrade: other\r\n"); status != 200 || body != "[] []" {
		t.Errorf("%d %s", status, body)
	}
}

// TestRelayPollExpect: a client that expects to be told to go on with the body that it does not have gets the answer to
// its poll.
func TestRelayPollExpect(t *testing.T) {
	addr := relayed(t, func(w http.ResponseWriter, r *http.Request) {
		_, receipt := ExpectReceipt(w, r)
		defer receipt.Release()
		time.Sleep(50 * time.Millisecond) // as a poll waits for messages: by then the body is being read
		receipt.SetSize(len("messages"))
		io.WriteString(w, "messages")
		http.NewResponseController(w).Flush()
		if !receipt.Taken() {
			t.Error("the answer is not confirmed")
		}
	}, func(e *Elsewhere, w http.ResponseWriter, r *http.Request) {
		e.RelayPoll(w, r, Claim{}, notForwarded(t))
	})
	for _, lines := range []string{"", "Expect: 100-continue\r\n"} {
		if status, body := ask(t, addr, lines); status != 200 || body != "messages" {
			t.Errorf("with %q: %d %q", lines, status, body)
		}
	}
}
