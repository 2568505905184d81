//go:build unix

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/waittest"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// entry is a line of the log, as far as the tests look at it.
type entry struct {
	Message  string
	Options  []string
	Problems []string
	Error    string
}

// hangup sends SIGHUP and returns the lines up to the one that ends a reload.
func (s *server) hangup(t *testing.T) (lines []entry) {
	t.Helper()
	seen := len(s.log.String())
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		lines = nil
		for line := range strings.Lines(s.log.String()[seen:]) {
			var e entry
			if json.Unmarshal([]byte(line), &e) != nil {
				break // it is being written
			}
			lines = append(lines, e)
			if strings.HasPrefix(e.Message, "configuration ") {
				return lines
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("not reloaded:\n%s", s.log)
		}
	}
}

// tryJoin joins and returns the whole reply.
func tryJoin(t *testing.T, c *wstest.Client, ref int, topic string) string {
	t.Helper()
	if err := c.WriteText(fmt.Sprintf(`["%d","%d",%q,"phx_join",{}]`, ref, ref, topic)); err != nil {
		t.Fatal(err)
	}
	for {
		_, data, err := c.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), fmt.Sprintf(`,"%d",%q,"phx_reply"`, ref, topic)) {
			return string(data)
		}
	}
}

func TestReload(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	writeFile(t, file, "loops: 1\ntopics: [\"room:*\"]\n")
	s := start(t, "serve", "--config="+file)
	old := dial(t, s, "")
	tryJoin(t, old, 1, "room:1")

	writeFile(t, file, "loops: 2\ntopics: [\"game:*\"]\nlog: {level: debug}\ncheck_origin: [\"https://a.example\"]\nlimits: {max_channels: 1}\npresence: {off: [\"x\"]}\n")
	lines := s.hangup(t)
	for _, want := range []string{
		`{presence.off (from file ` + file + `:6): no topic is served that "x" matches; see topics [] [] }`,
		`{these changed options need a restart [loops] [] }`,
		`{configuration reloaded [topics check_origin log.level limits.max_channels presence.off] [] }`,
	} {
		if !strings.Contains(fmt.Sprint(lines), want) {
			t.Errorf("no line %s in\n%v", want, lines)
		}
	}
	fresh := dial(t, s, "")
	for i, c := range []struct {
		client      *wstest.Client
		topic, part string
	}{
		{old, "room:2", `"status":"ok"`}, {old, "game:1", "unmatched topic"},
		{fresh, "game:1", `"status":"ok"`}, {fresh, "room:1", "unmatched topic"}, {fresh, "game:2", "too many channels"},
	} {
		if reply := tryJoin(t, c.client, 10+i, c.topic); !strings.Contains(reply, c.part) {
			t.Errorf("%d: %s answered %s, want %s", i, c.topic, reply, c.part)
		}
	}
	for origin, admitted := range map[string]bool{"https://a.example": true, "http://" + s.addr: false} {
		c, err := wstest.Dial(s.addr, "/socket/websocket", http.Header{"Origin": {origin}})
		if err == nil {
			_ = c.Drop()
		}
		if (err == nil) != admitted {
			t.Errorf("origin %s: %v, want it admitted: %v", origin, err, admitted)
		}
	}
	if err := fresh.WriteText("no envelope"); err != nil {
		t.Fatal(err)
	}
	closedWith(t, fresh, 1011)
	waittest.For(t, "a line of level debug", func() bool { return strings.Contains(s.log.String(), `"level":"debug"`) })
}

// A file that is wrong changes nothing, and the next one that is right does.
func TestReloadOfWhatIsWrong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	writeFile(t, file, "limits: {max_channels: 1}\n")
	s := start(t, "serve", "--config="+file)
	if status, text := s.call(t, "POST", "/api/instances", `{"id":"taken","type":"relay"}`); status != http.StatusCreated {
		t.Fatalf("creating an instance: %d %s", status, text)
	}
	for text, want := range map[string]string{
		"limits: {max_channels: 2}\nloops: x\nlisen: y\n":                                       "unknown key",
		"limits: {max_channels: 2\n":                                                            "cannot be parsed",
		"limits: {max_channels: 2, max_message: 8MB, outbound_bytes: 9MB}":                      "limits.outbound_bytes changes with a restart only",
		"limits: {max_channels: 2}\ninstances: [{id: lobby, type: chet}]":                       `c.yaml:2: instances[0].type \"chet\" is not one`,
		"limits: {max_channels: 2}\ninstances: [{id: lobby, type: relay, config: {window: 1}}]": "c.yaml:2: instances[0].config.window ",
		"limits: {max_channels: 2}\ninstances: [{id: lobby, type: relay, auth: {leeway: -}}]":   "c.yaml:2: instances[0].auth.leeway ",
		"limits: {max_channels: 2}\ninstances: [{id: taken, type: relay}]":                      `the API has created an instance of this id`,
		"limits: {max_channels: 2}\napi: {keys: [{id: x}]}":                                     "c.yaml:2: api.keys[0].id ",
	} {
		text += "\nlog: {level: debug}\nmetrics: {token: 0123456789abcdef}\n"
		writeFile(t, file, text)
		lines := s.hangup(t)
		last, err := json.Marshal(lines[len(lines)-1])
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(last), "nothing has changed") || !strings.Contains(string(last), want) {
			t.Errorf("%q: %s, want %s", text, last, want)
		}
		c := dial(t, s, "")
		tryJoin(t, c, 1, "a")
		if reply := tryJoin(t, c, 2, "b"); !strings.Contains(reply, "too many channels") {
			t.Errorf("%q: a second channel: %s", text, reply)
		}
	}
	if status, _ := get(t, "http://"+s.addr+"/metrics", "Authorization", "Bearer 0123456789abcdef"); status != http.StatusUnauthorized {
		t.Errorf("/metrics answers %d after all that", status)
	}
	if status, _ := s.call(t, "GET", "/api/instances/lobby", ""); status != http.StatusNotFound {
		t.Errorf("the instance answers %d after all that", status)
	}
	if strings.Contains(s.log.String(), `"level":"debug"`) {
		t.Error("the log's level has changed")
	}
	writeFile(t, file, "limits: {max_channels: 2}\ninstances: [{id: lobby, type: relay}]\n")
	if lines := s.hangup(t); !strings.Contains(fmt.Sprint(lines), "configuration reloaded [limits.max_channels instances]") {
		t.Errorf("what has changed: %v", lines)
	}
	if status, _ := s.call(t, "GET", "/api/instances/lobby", ""); status != http.StatusOK {
		t.Errorf("an instance of the new configuration: %d", status)
	}
	c := dial(t, s, "")
	tryJoin(t, c, 1, "a")
	if reply := tryJoin(t, c, 2, "b"); !strings.Contains(reply, `"status":"ok"`) {
		t.Errorf("a second channel of two: %s", reply)
	}
}

// certify writes a certificate with this serial number, and its key.
func certify(t *testing.T, cert, key string, serial int64) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	public, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: public})))
	writeFile(t, key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})))
}

// New certificates under the same names are taken, as the tools that renew them
// write them; half a pair is not.
func TestReloadCertificate(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certify(t, cert, key, 1)
	s := start(t, "serve", "--tls-cert="+cert, "--tls-key="+key)
	serial := func() int64 {
		c, err := tls.Dial("tcp", s.addr, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if n := serial(); n != 1 {
		t.Errorf("certificate %d, want 1", n)
	}
	certify(t, cert, filepath.Join(dir, "other.pem"), 2)
	if lines := s.hangup(t); !strings.Contains(fmt.Sprint(lines[0].Problems), "private key does not match") || serial() != 1 {
		t.Errorf("a certificate without its key: %v, certificate %d", lines, serial())
	}
	certify(t, cert, key, 3)
	s.hangup(t)
	if n := serial(); n != 3 {
		t.Errorf("certificate %d, want 3", n)
	}
}

// While the configuration goes back and forth, each socket is served by one of
// the two as a whole.
func TestReloadUnderTraffic(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	configurations := []string{
		"topics: [\"a:*\"]\nlimits: {max_channels: 1}\n",
		"topics: [\"b:*\"]\nlimits: {max_channels: 2}\npresence: {off: [\"b:*\"]}\nlog: {level: warn}\n",
	}
	writeFile(t, file, configurations[0])
	s := start(t, "serve", "--config="+file)
	var done atomic.Bool
	var clients sync.WaitGroup
	var served [2]atomic.Int64
	for range 3 {
		clients.Go(func() {
			for !done.Load() {
				n, err := configurationOf(s)
				if err != nil {
					t.Error(err)
					return
				}
				served[n].Add(1)
			}
		})
	}
	deadline := time.Now().Add(patience)
	for i := 1; i < 30 || served[0].Load() < 10 || served[1].Load() < 10; i++ {
		writeFile(t, file, configurations[i%2])
		if err := syscall.Kill(syscall.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		before := served[0].Load() + served[1].Load()
		for served[0].Load()+served[1].Load() < before+2 && !t.Failed() && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond)
		}
		if t.Failed() || time.Now().After(deadline) {
			break
		}
	}
	done.Store(true)
	clients.Wait()
	if served[0].Load() < 10 || served[1].Load() < 10 {
		t.Errorf("served by the first %d times, by the second %d", served[0].Load(), served[1].Load())
	}
}

// configurationOf connects and tells by all of them together which one serves
// it: 0 or 1.
func configurationOf(s *server) (int, error) {
	c, err := wstest.Dial(s.addr, "/socket/websocket?vsn=2.0.0", nil)
	if err != nil {
		return 0, err
	}
	defer c.Drop()
	for i, topic := range []string{"a:1", "b:1", "a:2", "b:2", "a:3", "b:3"} {
		if err := c.WriteText(fmt.Sprintf(`["%d","%d",%q,"phx_join",{}]`, i, i, topic)); err != nil {
			return 0, err
		}
	}
	answers, states, err := replies(c, 6)
	if err != nil {
		return 0, err
	}
	// What was pushed by the join comes before the answer to this.
	joined := map[string]int{"kumumu": 0, "ukukum": 1}
	n, ok := joined[answers]
	if !ok {
		return 0, fmt.Errorf("answers %q are of no configuration", answers)
	}
	if err := c.WriteText(fmt.Sprintf(`["%d","9",%q,"hello",{}]`, n, []string{"a:1", "b:1"}[n])); err != nil {
		return 0, err
	}
	_, more, err := replies(c, 1)
	if err == nil && states+more != 1-n {
		err = fmt.Errorf("%d states of presence are not of configuration %d", states+more, n)
	}
	return n, err
}

// replies reads n replies, and writes a letter for each: ok, unmatched, too
// many. It counts the states of presence that come between.
func replies(c *wstest.Client, n int) (letters string, states int, err error) {
	for len(letters) < n {
		_, data, err := c.ReadMessage()
		if err != nil {
			return letters, states, err
		}
		text := string(data)
		switch {
		case strings.Contains(text, `"presence_state"`):
			states++
		case !strings.Contains(text, `"phx_reply"`): // a diff, or what was relayed
		case strings.Contains(text, "unmatched"):
			letters += "u"
		case strings.Contains(text, "too many"):
			letters += "m"
		case strings.Contains(text, `"status":"ok"`):
			letters += "k"
		default:
			return letters, states, fmt.Errorf("an answer of no kind: %s", text)
		}
	}
	return letters, states, nil
}

// TestRequestsDuringReload: requests are answered while the configuration is replaced. The race detector watches.
func TestRequestsDuringReload(t *testing.T) {
	s := start(t, "serve")
	done := make(chan struct{})
	var asking sync.WaitGroup
	asking.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			answer, err := http.Get("http://" + s.addr + "/healthz")
			if err != nil {
				t.Error(err)
				return
			}
			answer.Body.Close()
		}
	})
	for range 3 {
		s.hangup(t)
	}
	close(done)
	asking.Wait()
}
