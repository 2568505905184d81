package attack

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/certtest"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// TestTLSAttacks runs the attacks on TLS against a server that has it. The chat has it, too.
func TestTLSAttacks(t *testing.T) {
	if *length <= 0 {
		t.Skip("only with -for: make attack")
	}
	v := startVictim(t, secured(t))
	t.Logf("without an attack: p99 %v", v.chat(t, *length))
	for i, a := range tlsAttacks {
		t.Run(a.name, func(t *testing.T) { v.withstand(t, a, 100+i) })
	}
}

// TestStopUnderTLSAttack is TestStopUnderAttack for a server that has TLS.
func TestStopUnderTLSAttack(t *testing.T) {
	if *length <= 0 {
		t.Skip("only with -for: make attack")
	}
	for i, a := range tlsAttacks {
		t.Run(a.name, func(t *testing.T) { stopUnder(t, startVictim(t, secured(t)), a, 100+i) })
	}
}

// secured returns the configuration of TLS.
func secured(t *testing.T) string {
	t.Helper()
	pair := certtest.New(t).Server()
	cert, key := certtest.Files(t, &pair)
	return fmt.Sprintf("tls: {cert: %q, key: %q}\n", cert, key)
}

// careless is the configuration of a client that does not look at certificates, which would
// cost it time.
func careless(version uint16) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version, CurvePreferences: []tls.CurveID{tls.X25519}}
}

// tlsAttacks are made below HTTP.
var tlsAttacks = []attack{
	{name: "TLS handshakes that stop in the middle", workers: 100, least: 200, strike: func(x *attacker, worker int) {
		c := x.dial()
		if c == nil {
			return
		}
		x.hold(c)
		hello := clientHello(worker)
		x.send(c, string(hello[:1+worker*len(hello)/100]))
		x.done.Add(1)
		x.pause(50 * time.Millisecond)
	}},
	{name: "TLS handshakes byte by byte", workers: 50, least: 50, strike: func(x *attacker, worker int) {
		c := x.dial()
		if c == nil {
			return
		}
		defer c.Close()
		x.done.Add(1)
		for _, b := range clientHello(worker) {
			if x.ctx.Err() != nil || !x.send(c, string([]byte{b})) {
				return
			}
			x.pause(50 * time.Millisecond)
		}
		x.pause(time.Second)
	}},
	{name: "ClientHellos whose answer is not read", workers: 8, least: 200, strike: func(x *attacker, worker int) {
		c := x.dial()
		if c == nil {
			return
		}
		defer c.Close()
		x.send(c, string(clientHello(worker)))
		c.SetReadDeadline(time.Now().Add(time.Second)) // Read reports it
		c.Read(make([]byte, 1))                        // the server has done its work
		x.done.Add(1)
	}},
	{name: "TLS handshakes one after the other", workers: 4, least: 200, strike: func(x *attacker, worker int) {
		if c := x.secure(versions[worker%2]); c != nil {
			c.Close()
			x.done.Add(1)
		}
	}},
	{name: "records of garbage", workers: 4, least: 200, strike: func(x *attacker, worker int) {
		c := x.dial()
		if c == nil {
			return
		}
		defer c.Close()
		hello := clientHello(worker)
		x.send(c, []string{
			"\x16\x03\x01\xff\xff" + long,                                                                                 // longer than a record may be
			"\x16\x03\x01\x00\x00" + strings.Repeat("\x16\x03\x01\x00\x00", 1000),                                         // without content
			"\x16\x03\x01\x00\x04\x01\xff\xff\xff" + strings.Repeat("\x16\x03\x01\x40\x00"+strings.Repeat("x", 1<<14), 5), // a ClientHello of 16 MiB
			string(hello) + "\x15\x03\x03\x00\x02\x01\x5a" + "\x14\x03\x03\x00\x01\x01" + string(hello),                   // warnings, and what does not belong there
		}[worker%4])
		c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) // Read reports it
		io.Copy(io.Discard, c)                                    // whatever the answer
		x.done.Add(1)
	}},
	{name: "garbage after the handshake", workers: 4, least: 100, strike: func(x *attacker, worker int) {
		raw := x.dial()
		if raw == nil {
			return
		}
		defer raw.Close()
		records, c, err := certtest.NewRecords(raw, careless(versions[worker%2]))
		if err != nil {
			return
		}
		switch worker / 2 {
		case 0: // it cannot be decrypted
			x.send(raw, "\x17\x03\x03\x00\x20"+strings.Repeat("x", 32))
		default: // it can, and is no message of a handshake
			x.send(raw, string(records.Append(nil, certtest.Handshake, bytes.Repeat([]byte{99}, 1000))))
		}
		c.Read(make([]byte, 1)) // whatever the answer
		x.done.Add(1)
	}},
	{name: "renegotiation", workers: 4, least: 100, strike: func(x *attacker, worker int) {
		raw := x.dial()
		if raw == nil {
			return
		}
		defer raw.Close()
		records, c, err := certtest.NewRecords(raw, careless(tls.VersionTLS12))
		if err != nil {
			return
		}
		hello := clientHello(worker)[5:] // without the head of its record
		x.send(raw, string(records.Append(records.Append(nil, certtest.Handshake, hello), certtest.Handshake, hello)))
		c.Read(make([]byte, 1)) // whatever the answer
		x.done.Add(1)
	}},
	{name: "changes of keys without end, by clients that do not read", workers: 20, least: 200, strike: func(x *attacker, _ int) {
		raw := x.dial()
		if raw == nil {
			return
		}
		defer raw.Close()
		records, _, err := certtest.NewRecords(raw, careless(tls.VersionTLS13))
		if err != nil {
			return
		}
		b := records.Append(nil, certtest.Application, wstest.AppendHandshake(nil, "/socket/websocket?vsn=2.0.0", map[string][]string{"X-Forwarded-For": {x.client.String()}}))
		pong := wstest.AppendFrame(nil, true, 10, nil)
		for x.ctx.Err() == nil && x.send(raw, string(b)) {
			b = b[:0]
			for range 15 { // the server closes after 17 in a row
				b = records.AppendKeyUpdate(b)
			}
			b = records.Append(b, certtest.Application, pong)
			x.done.Add(1)
		}
	}},
	{name: "a byte in each record", workers: 4, least: 20, strike: func(x *attacker, worker int) {
		raw := x.dial()
		if raw == nil {
			return
		}
		defer raw.Close()
		records, _, err := certtest.NewRecords(raw, careless(versions[worker%2]))
		if err != nil {
			return
		}
		b := records.Append(nil, certtest.Application, wstest.AppendHandshake(nil, "/socket/websocket?vsn=2.0.0", map[string][]string{"X-Forwarded-For": {x.client.String()}}))
		message := wstest.AppendFrame(nil, true, 1, []byte(`[null,"1","phoenix","heartbeat",{}]`))
		for x.ctx.Err() == nil && x.send(raw, string(b)) {
			b = b[:0]
			for i := range message {
				b = records.Append(b, certtest.Application, message[i:i+1])
			}
			x.done.Add(1)
		}
	}},
	{name: "TLS connections that are half closed", workers: 100, least: 300, strike: func(x *attacker, worker int) {
		c := x.secure(versions[worker%2])
		if c == nil {
			return
		}
		x.hold(c)
		if worker%4 < 2 {
			c.CloseWrite()
		}
		c.NetConn().(*net.TCPConn).CloseWrite()
		x.done.Add(1)
		x.pause(50 * time.Millisecond)
	}},
	{name: "connections of HTTP/2 that open streams without end", workers: 4, least: 200, strike: func(x *attacker, _ int) {
		raw := x.dial()
		if raw == nil {
			return
		}
		defer raw.Close()
		config := careless(tls.VersionTLS13)
		config.NextProtos = []string{"h2"}
		c := tls.Client(raw, config)
		c.SetDeadline(time.Now().Add(2 * time.Second)) // the calls below report it
		if c.Handshake() != nil {
			return
		}
		// A request and RST_STREAM at once, over and over (CVE-2023-44487).
		b := []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
		for stream := uint32(1); x.ctx.Err() == nil; stream += 2 {
			id := binary.BigEndian.AppendUint32(nil, stream)
			// :method GET, :scheme https, :path /, :authority x
			b = append(append(append(b, 0, 0, 6, 1, 5), id...), 0x82, 0x87, 0x84, 0x41, 1, 'x')
			b = append(append(append(b, 0, 0, 4, 3, 0), id...), 0, 0, 0, 8)
			if len(b) < 16<<10 {
				continue
			}
			if _, err := c.Write(b); err != nil {
				break
			}
			b = b[:0]
			x.done.Add(1)
		}
		x.done.Add(1)
	}},
}

var versions = []uint16{tls.VersionTLS13, tls.VersionTLS12}

// secure connects over TLS. It returns nil as dial does.
func (x *attacker) secure(version uint16) *tls.Conn {
	raw := x.dial()
	if raw == nil {
		return nil
	}
	c := tls.Client(raw, careless(version))
	c.SetDeadline(time.Now().Add(2 * time.Second)) // Handshake reports it
	if c.Handshake() != nil {
		raw.Close()
		return nil
	}
	return c
}

// clientHello returns the first record of a client of TLS 1.2 or 1.3.
func clientHello(worker int) []byte {
	var hello spy
	tls.Client(&hello, careless(versions[worker%2])).Handshake() // it is for the first write alone
	return hello.written
}

// spy is a connection without a peer.
type spy struct {
	net.Conn
	written []byte
}

// Write implements net.Conn.
func (s *spy) Write(p []byte) (int, error) {
	s.written = append(s.written, p...)
	return len(p), io.ErrClosedPipe
}

// SetWriteDeadline and Close implement net.Conn, for the last alert.
func (*spy) SetWriteDeadline(time.Time) error { return nil }
func (*spy) Close() error                     { return nil }
