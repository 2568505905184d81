package compat_tests

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"

	"github.com/mycelium-rt/mycelium/compat_tests/child"
	"github.com/mycelium-rt/mycelium/compat_tests/replay/conformance"
)

// TestTranscriptsOverTCP replays the recordings against the application over raw TCP. A
// proxy takes their WebSockets, and speaks to the server as docs/tcp.md specifies. What is
// about the handshake of HTTP or about frames themselves is left out.
func TestTranscriptsOverTCP(t *testing.T) {
	t.Parallel()
	scenarios, err := conformance.Load("transcripts")
	if err != nil {
		t.Fatal(err)
	}
	apps := make(chan *child.Process, applications/2)
	for range applications / 2 {
		app := startLabapp(t, "-tcp=127.0.0.1:0")
		_, tcp, _ := strings.Cut(strings.TrimSpace(app.Before), "TCP ")
		apps <- &child.Process{Addr: proxied(t, func(client *net.TCPConn) { relayTCP(t, client, app.Addr, tcp) })}
	}
	replayed := 0
	for _, s := range scenarios {
		if !possibleOverTCP(s) {
			continue
		}
		if replayed++; !*whole && replayed%8 != 1 {
			continue
		}
		recordedOverTCP(s)
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			app := <-apps
			defer func() { apps <- app }()
			replay(t, app, s)
		})
	}
	if replayed < 140 {
		t.Errorf("only %d recordings can be replayed", replayed)
	}
}

// recordedOverTCP has the application see what it would have seen over raw TCP.
func recordedOverTCP(s conformance.Scenario) {
	for _, r := range s.Recordings {
		for _, step := range r.Steps {
			if o := step.Opened; o != nil && o.Body != nil && *o.Body == "" {
				o.Body = nil // where Phoenix gives no reason, a refusal over raw TCP says why in words of its own
			}
			if step.Recv != nil {
				text := strings.ReplaceAll(*step.Recv, `"transport":"websocket"`, `"transport":"tcp"`)
				*step.Recv = websocketHeaders.ReplaceAllString(text, `"sec_websocket_headers":[]`)
			}
		}
	}
}

var websocketHeaders = regexp.MustCompile(`"sec_websocket_headers":\[[^\]]*\]`)

// otherwiseOverTCP are recordings of what raw TCP does otherwise: the 404 of a page, a path
// without "/websocket", and tokens in base64.
var otherwiseOverTCP = map[string]bool{
	"handshake_unknown_path": true, "handshake_no_transport_path": true,
	"handshake_auth_token_url_alphabet": true, "handshake_auth_token_bad_base64": true,
}

// possibleOverTCP reports whether all that the clients of a recording do can be done over
// raw TCP.
func possibleOverTCP(s conformance.Scenario) bool {
	if s.Transport != "websocket" || otherwiseOverTCP[s.Name] {
		return false
	}
	for _, step := range s.Recordings[0].Steps {
		if step.Raw != nil || step.Open != nil && aboutHTTP(step.Open) {
			return false
		}
		for _, f := range step.Frames {
			if f.RSV != 0 || f.Masked != nil && !*f.Masked || f.Opcode != nil && *f.Opcode&7 > 2 {
				return false
			}
		}
	}
	return true
}

// aboutHTTP reports whether a handshake has what only one over HTTP can have.
func aboutHTTP(o *conformance.Open) bool {
	for _, h := range o.Headers {
		name := strings.ToLower(h.Name)
		token := name == "sec-websocket-protocol" && strings.Contains(h.Value, tokenPrefix)
		if h.Omit || name == "connection" || name == "upgrade" || strings.HasPrefix(name, "sec-websocket-") && !token {
			return true
		}
	}
	return o.NoUpgradeHeaders || o.Method != "" || o.HTTP != "" || o.Body != nil
}

// tokenPrefix is before the token that phoenix.js sends as a subprotocol.
const tokenPrefix = "base64url.bearer.phx."

// relayTCP serves a client's WebSocket from the server's port for raw TCP, and passes
// everything else on to that for HTTP.
func relayTCP(t *testing.T, client *net.TCPConn, httpAddr, tcpAddr string) {
	defer client.Close()
	in := bufio.NewReader(client)
	head, err := readHead(in)
	if err != nil {
		return // the client has left
	}
	request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
	if err != nil || !strings.EqualFold(request.Header.Get("Upgrade"), "websocket") {
		if server := dialServer(t, httpAddr); server != nil {
			server.Write(head) // the answer shows it
			join(client, in, server, server)
		}
		return
	}
	server := dialServer(t, tcpAddr)
	if server == nil {
		return
	}
	defer server.Close()
	body, err := json.Marshal(connectOf(request))
	if err != nil {
		t.Error(err)
		return
	}
	writePacket(server, 3, body) // the answer shows it
	from := bufio.NewReader(server)
	kind, answer, err := readPacket(from)
	switch {
	case err != nil:
	case kind == 5:
		client.Write(refusalOf(answer)) // it may have left
	case kind == 4:
		client.Write(acceptOf(request)) // it may have left
		join(client, &packetsOf{frames: in}, server, &framesOf{packets: from})
	}
}

func dialServer(t *testing.T, addr string) *net.TCPConn {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return nil
	}
	return c.(*net.TCPConn)
}

// readHead reads a request up to its blank line.
func readHead(r *bufio.Reader) (head []byte, err error) {
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		b, err := r.ReadByte()
		if err != nil {
			return nil, err
		}
		head = append(head, b)
	}
	return head, nil
}

// connectOf says in a connect what a handshake says. Phoenix takes a client without vsn for
// one of version 1.
func connectOf(r *http.Request) map[string]any {
	path := r.RequestURI
	if !strings.Contains(r.URL.RawQuery, "vsn") {
		path += map[bool]string{true: "&", false: "?"}[strings.Contains(path, "?")] + "vsn=1.0.0"
	}
	headers := map[string]string{"Host": r.Host}
	for name, values := range r.Header {
		if name != "Connection" && name != "Upgrade" && !strings.HasPrefix(name, "Sec-Websocket-") {
			headers[name] = values[0]
		}
	}
	connect := map[string]any{"path": path, "headers": headers}
	if _, token, found := strings.Cut(r.Header.Get("Sec-Websocket-Protocol"), tokenPrefix); found {
		token, _, _ = strings.Cut(token, ",")
		text, _ := base64.RawStdEncoding.DecodeString(strings.NewReplacer("-", "+", "_", "/", "=", "").Replace(token))
		connect["token"] = string(text)
	}
	return connect
}

// acceptOf returns the answer to a handshake with the key of RFC 6455, 1.3.
func acceptOf(r *http.Request) []byte {
	protocol := ""
	if strings.Contains(r.Header.Get("Sec-Websocket-Protocol"), "phoenix") {
		protocol = "Sec-WebSocket-Protocol: phoenix\r\n"
	}
	return []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" + protocol + "\r\n")
}

// refusalOf returns the answer over HTTP to a client that was refused.
func refusalOf(body []byte) []byte {
	status, retryAfter, reason := binary.BigEndian.Uint16(body), binary.BigEndian.Uint16(body[2:]), string(body[4:])
	if reason == http.StatusText(int(status)) {
		reason = "" // there was none
	}
	more := ""
	if retryAfter > 0 {
		more = "Retry-After: " + strconv.Itoa(int(retryAfter)) + "\r\n"
	}
	return fmt.Appendf(nil, "HTTP/1.1 %d x\r\nConnection: close\r\n%sContent-Length: %d\r\n\r\n%s", status, more, len(reason), reason)
}

func writePacket(w io.Writer, kind byte, body []byte) error {
	head := append(binary.BigEndian.AppendUint32(nil, uint32(1+len(body))), kind)
	_, err := w.Write(append(head, body...))
	return err
}

func readPacket(r io.Reader) (kind byte, body []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	body = make([]byte, binary.BigEndian.Uint32(head[:])-1)
	_, err = io.ReadFull(r, body)
	return head[4], body, err
}

// framesOf writes the packets of a server as frames.
type framesOf struct{ packets io.Reader }

// WriteTo implements io.WriterTo.
func (f *framesOf) WriteTo(w io.Writer) (n int64, err error) {
	for {
		kind, body, err := readPacket(f.packets)
		if err != nil {
			return n, err
		}
		if kind == byte(ws.OpClose) && len(body) > 2 {
			switch binary.BigEndian.Uint16(body) {
			case 1002, 1007, 1009, 1011: // Phoenix has no reasons for these
				body = body[:2]
			}
		}
		if err := ws.WriteFrame(w, ws.NewFrame(ws.OpCode(kind), true, body)); err != nil {
			return n, err
		}
	}
}

func (f *framesOf) Read([]byte) (int, error) { panic("io.Copy calls WriteTo") }

// packetsOf writes the frames of a client as packets.
type packetsOf struct{ frames io.Reader }

// WriteTo implements io.WriterTo.
func (p *packetsOf) WriteTo(w io.Writer) (n int64, err error) {
	var op ws.OpCode // of the message that is not complete
	var message []byte
	for {
		head, err := ws.ReadHeader(p.frames)
		if err != nil {
			return n, err
		}
		f := ws.Frame{Header: head, Payload: make([]byte, head.Length)} // of the recordings
		if _, err := io.ReadFull(p.frames, f.Payload); err != nil {
			return n, err
		}
		f = ws.UnmaskFrameInPlace(f)
		if f.Header.OpCode.IsControl() {
			if err := writePacket(w, byte(f.Header.OpCode), f.Payload); err != nil {
				return n, err
			}
			continue
		}
		if f.Header.OpCode != ws.OpContinuation {
			op, message = f.Header.OpCode, nil
		}
		if message = append(message, f.Payload...); f.Header.Fin {
			if err := writePacket(w, byte(op), message); err != nil {
				return n, err
			}
		}
	}
}

func (p *packetsOf) Read([]byte) (int, error) { panic("io.Copy calls WriteTo") }

// join copies from the client, of which fromClient reads, to the server and back, until
// either ends.
func join(client *net.TCPConn, fromClient io.Reader, server *net.TCPConn, fromServer io.Reader) {
	defer server.Close()
	var toServer sync.WaitGroup
	toServer.Go(func() {
		io.Copy(server, fromClient) // the server sees the end
		server.CloseWrite()         // it may be closed
	})
	if _, err := io.Copy(client, fromServer); err != nil && !errors.Is(err, io.EOF) {
		client.SetLinger(0) // a reset is one for the client too
		client.Close()
	} else {
		client.CloseWrite() // it may be closed
	}
	toServer.Wait()
}
