package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/waittest"
)

// tcpAddr is where a server listens for raw TCP.
func (s *server) tcpAddr(t *testing.T) string {
	t.Helper()
	for line := range strings.Lines(s.log.String()) {
		var entry struct{ Addr, Message string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Message == "listening for raw TCP" {
			return entry.Addr
		}
	}
	t.Fatalf("not listening for raw TCP:\n%s", s.log)
	return ""
}

// tcpClient is a connection to the port for raw TCP.
type tcpClient struct {
	net.Conn
	t      *testing.T
	reader *bufio.Reader
}

func dialRaw(t *testing.T, addr string) *tcpClient {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &tcpClient{c, t, bufio.NewReader(c)}
}

// send sends a packet, and returns the type and the body of the next.
func (c *tcpClient) send(kind byte, body string) (byte, string) {
	c.t.Helper()
	head := append(binary.BigEndian.AppendUint32(nil, uint32(1+len(body))), kind)
	if _, err := c.Write(append(head, body...)); err != nil {
		c.t.Fatal(err)
	}
	if _, err := io.ReadFull(c.reader, head); err != nil {
		c.t.Fatal(err)
	}
	answer := make([]byte, binary.BigEndian.Uint32(head)-1)
	if _, err := io.ReadFull(c.reader, answer); err != nil {
		c.t.Fatal(err)
	}
	return head[4], string(answer)
}

// TestTCPDocument plays the example session of docs/tcp.md.
func TestTCPDocument(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "tcp.md"))
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, "--tcp-listen=127.0.0.1:0", "--presence-off=*")
	c := dialRaw(t, s.tcpAddr(t))
	lines := regexp.MustCompile(`(?m)^(→|←) ((?:[0-9a-f]{2} ?)+)`).FindAllStringSubmatch(string(text), -1)
	if len(lines) < 30 {
		t.Fatalf("docs/tcp.md has %d lines of its example session", len(lines))
	}
	for i, line := range lines {
		b, err := hex.DecodeString(strings.ReplaceAll(line[2], " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if line[1] == "→" {
			if _, err := c.Write(b); err != nil {
				t.Fatal(err)
			}
			continue
		}
		got := make([]byte, len(b))
		if _, err := io.ReadFull(c.reader, got); err != nil || !bytes.Equal(got, b) {
			t.Fatalf("line %d: % x, %v; want % x", i+1, got, err, b)
		}
	}
	if _, err := c.reader.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("after the session: %v, want EOF", err)
	}
}

// Instances are reached over raw TCP, or refused as over HTTP; who looks at sockets sees how
// they are connected.
func TestTCPInstances(t *testing.T) {
	s := start(t, "--tcp-listen=127.0.0.1:0")
	addr := s.tcpAddr(t)
	if status, body := s.call(t, http.MethodPost, "/api/instances", `{"id":"lab","type":"relay"}`); status != http.StatusCreated {
		t.Fatalf("%d %s", status, body)
	}
	c := dialRaw(t, addr)
	if kind, body := c.send(3, `{"path":"/socket/lab","params":{"user":"ada"}}`); kind != 4 {
		t.Fatalf("answered with %d %q", kind, body)
	}
	if kind, body := c.send(1, `["1","1","room:1","phx_join",{}]`); kind != 1 || !strings.Contains(body, `"status":"ok"`) {
		t.Fatalf("joined with %d %q", kind, body)
	}
	if status, body := s.call(t, http.MethodGet, "/api/instances/lab/sockets", ""); status != 200 || !strings.Contains(body, `"transport":"tcp"`) {
		t.Errorf("sockets: %d %s", status, body)
	}
	waittest.For(t, "the metric", func() bool {
		_, text := s.call(t, http.MethodGet, "/metrics", "")
		return strings.Contains(text, `mycelium_sockets{transport="tcp",type="relay"} 1`)
	})
	if kind, body := dialRaw(t, addr).send(3, `{"path":"/socket/none"}`); kind != 5 || !strings.HasPrefix(body, "\x01\x94\x00\x00") {
		t.Errorf("an unknown instance: %d %q", kind, body)
	}
	if status, body := s.call(t, http.MethodPost, "/api/instances/lab/drain", ""); status/100 != 2 {
		t.Fatalf("drain: %d %s", status, body)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.addr+"/socket/lab/websocket", nil)
	if err != nil {
		t.Fatal(err)
	}
	status, _ := do(t, request)
	if kind, body := dialRaw(t, addr).send(3, `{"path":"/socket/lab"}`); kind != 5 || int(binary.BigEndian.Uint16([]byte(body))) != status {
		t.Errorf("a stopped instance: %d %q, over HTTP %d", kind, body, status)
	}
}
