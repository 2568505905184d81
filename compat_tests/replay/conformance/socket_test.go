package conformance

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
)

func TestFrameBytes(t *testing.T) {
	tests := []struct {
		name  string
		frame rawFrame
		want  string
	}{
		{"empty text", rawFrame{opcode: opText, fin: true}, "8100"},
		{"fragment", rawFrame{opcode: opText, payload: []byte("ab")}, "01026162"},
		{"reserved bit and opcode", rawFrame{opcode: 3, fin: true, rsv: 4}, "c300"},
		{"close", rawFrame{opcode: opClose, fin: true, payload: []byte{3, 232}}, "880203e8"},
		{"126 bytes", rawFrame{opcode: opBinary, fin: true, payload: make([]byte, 126)}, "827e007e" + strings.Repeat("00", 126)},
		{"65536 bytes", rawFrame{opcode: opBinary, fin: true, payload: make([]byte, 65536)}, "827f0000000000010000" + strings.Repeat("00", 65536)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := hex.EncodeToString(tt.frame.appendTo(nil)); got != tt.want {
				t.Errorf("frame is %s, want %s", short(got), short(tt.want))
			}
			masked := tt.frame
			masked.masked = true
			back, err := readFrame(bufio.NewReader(bytes.NewReader(masked.appendTo(nil))))
			if err != nil || !bytes.Equal(back.payload, tt.frame.payload) || !back.masked || back.opcode != tt.frame.opcode || back.rsv != tt.frame.rsv || back.fin != tt.frame.fin {
				t.Errorf("masked and read again it is %+v, %v", back, err)
			}
		})
	}
}

// compressor is a server's side of permessage-deflate.
type compressor struct {
	buf    bytes.Buffer
	writer *flate.Writer
}

func (c *compressor) message(text string, takeover bool) []byte {
	if c.writer == nil || !takeover {
		c.writer, _ = flate.NewWriter(&c.buf, flate.BestCompression)
	}
	c.buf.Reset()
	_, _ = c.writer.Write([]byte(text))
	_ = c.writer.Flush()
	return bytes.TrimSuffix(bytes.Clone(c.buf.Bytes()), []byte("\x00\x00\xff\xff"))
}

func TestInflater(t *testing.T) {
	text := strings.Repeat("mycelium ", 40)
	for _, takeover := range []bool{true, false} {
		in, c := newInflater(parseExtensions("permessage-deflate")[0]), &compressor{}
		for i := range 3 {
			got, err := in.message(c.message(text, takeover))
			if err != nil || string(got) != text {
				t.Fatalf("takeover %v, message %d: %q, %v", takeover, i, got, err)
			}
		}
	}
	in, c := newInflater(parseExtensions("permessage-deflate; server_no_context_takeover")[0]), &compressor{}
	if _, err := in.message(c.message(text, true)); err != nil {
		t.Fatal(err)
	}
	if _, err := in.message(c.message(text, true)); !isViolation(err) {
		t.Errorf("a reference to an earlier message passed: %v", err)
	}
}

// serveBytes answers the handshake, then writes frames, then reads to the end.
func serveBytes(t *testing.T, head string, frames ...[]byte) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		reader := bufio.NewReader(conn)
		if _, err := http.ReadRequest(reader); err != nil {
			return
		}
		_, _ = conn.Write([]byte(head))
		for _, f := range frames {
			_, _ = conn.Write(f)
		}
		for err == nil {
			_, err = readFrame(reader)
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

const upgrade = "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nconnection: keep-alive, Upgrade\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"

// opening returns a recording of a handshake followed by observations.
func opening(t *testing.T, offer, answer string, observations ...string) Recording {
	t.Helper()
	steps := []string{`{"client":1,"open":{"path":"/s","query":""}}`,
		`{"client":1,"opened":{"status":101,"headers":{"sec-websocket-accept":"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="}}}`}
	if offer != "" {
		steps[0] = fmt.Sprintf(`{"client":1,"open":{"path":"/s","query":"","headers":{"Sec-WebSocket-Extensions":%q}}}`, offer)
		steps[1] = fmt.Sprintf(`{"client":1,"opened":{"status":101,"headers":{"sec-websocket-accept":"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=","sec-websocket-extensions":%q}}}`, answer)
	}
	return recording(t, append(steps, observations...)...)
}

func recording(t *testing.T, steps ...string) Recording {
	t.Helper()
	f, err := parseScenario([]byte(`{"name":"made_up","steps":[` + strings.Join(steps, ",") + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	return Recording{Server: "test", Steps: f.Steps}
}

func TestServerFrames(t *testing.T) {
	text := func(s string) []byte { return rawFrame{opcode: opText, fin: true, payload: []byte(s)}.appendTo(nil) }
	tests := []struct {
		name    string
		frames  [][]byte
		wantErr string
	}{
		{"whole", [][]byte{text(`["hi"]`)}, ""},
		{"fragments with a ping between", [][]byte{
			rawFrame{opcode: opText, payload: []byte(`["h`)}.appendTo(nil),
			rawFrame{opcode: opPing, fin: true, payload: []byte("are you there")}.appendTo(nil),
			rawFrame{opcode: opContinuation, fin: true, payload: []byte(`i"]`)}.appendTo(nil)}, ""},
		{"masked", [][]byte{plainFrame(opText, []byte(`["hi"]`)).appendTo(nil)}, "masked"},
		{"compressed without agreement", [][]byte{rawFrame{opcode: opText, fin: true, rsv: rsv1, payload: []byte(`["hi"]`)}.appendTo(nil)}, "reserved"},
		{"not UTF-8", [][]byte{text("[\"hi\xff\"]")}, "UTF-8"},
		{"unknown opcode", [][]byte{rawFrame{opcode: 11, fin: true}.appendTo(nil)}, "opcode 11"},
		{"lonely continuation", [][]byte{rawFrame{opcode: opContinuation, fin: true}.appendTo(nil)}, "continuation"},
		{"length in too many bytes", [][]byte{{0x81, 126, 0, 6, '[', '"', 'h', 'i', '"', ']'}}, "16 bits"},
		{"half a close code", [][]byte{rawFrame{opcode: opClose, fin: true, payload: []byte{3}}.appendTo(nil)}, "half a code"},
		{"binary", [][]byte{rawFrame{opcode: opBinary, fin: true, payload: []byte(`["hi"]`)}.appendTo(nil)}, "binary"},
		{"one more", [][]byte{text(`["hi"]`), text(`["hi"]`)}, "nothing more"},
		{"frame after close", [][]byte{rawFrame{opcode: opClose, fin: true}.appendTo(nil), text(`["hi"]`)}, "close frame"},
		{"the end", nil, "still missing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			addr := serveBytes(t, upgrade+"\r\n", tt.frames...)
			patience := testPatience
			if tt.frames == nil {
				patience = mutantPatience
			}
			err := playRecording(t.Context(), addr, "made_up", opening(t, "", "", `{"client":1,"recv":"[\"hi\"]"}`), Options{Patience: patience})
			checkErr(t, err, tt.wantErr)
		})
	}
}

func checkErr(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Error(err)
	case want != "" && err == nil:
		t.Errorf("passed, want an error with %q", want)
	case want != "" && !strings.Contains(err.Error(), want):
		t.Errorf("error %q, want one with %q", err, want)
	}
}

func TestCompressedMessages(t *testing.T) {
	text := `["` + strings.Repeat("a", 300) + `"]`
	observation := fmt.Sprintf(`{"client":1,"recv":%q}`, text)
	for _, tt := range []struct {
		name, answer string
		takeover     bool
		wantErr      string
	}{
		{"takeover", deflateName, true, ""},
		{"server resets of its own accord", deflateName, false, ""},
		{"agreed to reset", deflateName + "; server_no_context_takeover", false, ""},
		{"agreed to reset and does not", deflateName + "; server_no_context_takeover", true, "not legal"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &compressor{}
			var frames [][]byte
			for range 2 {
				frames = append(frames, rawFrame{opcode: opText, fin: true, rsv: rsv1, payload: c.message(text, tt.takeover)}.appendTo(nil))
			}
			addr := serveBytes(t, upgrade+"sec-websocket-extensions: "+tt.answer+"\r\n\r\n", frames...)
			rec := opening(t, deflateName, deflateName, observation, observation)
			checkErr(t, playRecording(t.Context(), addr, "made_up", rec, Options{Patience: testPatience}), tt.wantErr)
		})
	}
}

// TestLostTooBig tests the second half of rule 7: a reset counts as a close frame with
// 1009, but not as any other.
func TestLostTooBig(t *testing.T) {
	for code, wantErr := range map[int]string{1009: "", 1002: "expected close frame 1002"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			conn, err := l.Accept()
			if err != nil {
				return
			}
			reader := bufio.NewReader(conn)
			if _, err := http.ReadRequest(reader); err != nil {
				return
			}
			_, _ = conn.Write([]byte(upgrade + "\r\n"))
			_, _ = readFrame(reader)
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		}()
		rec := opening(t, "", "", `{"client":1,"send":"too big"}`, fmt.Sprintf(`{"client":1,"closed":{"code":%d,"reason":""}}`, code), `{"client":1,"reset":"EPIPE"}`)
		checkErr(t, playRecording(t.Context(), l.Addr().String(), "made_up", rec, Options{Patience: testPatience}), wantErr)
		_ = l.Close()
		<-done
	}
}
