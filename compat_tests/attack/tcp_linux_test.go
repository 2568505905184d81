package attack

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"
)

// tcpAttacks are on the port for raw TCP.
var tcpAttacks = []attack{
	{name: "connects sent byte by byte over raw TCP", workers: 50, least: 50, strike: overTCP(func(x *attacker, c net.Conn) {
		x.done.Add(1)
		connect := packet(3, `{"path":"/socket","params":{"x":"`+long+`"}}`)
		for i := 0; x.ctx.Err() == nil && i < len(connect) && x.send(c, connect[i:i+1]); i++ {
			x.pause(50 * time.Millisecond)
		}
	})},
	{name: "connects over raw TCP whose end does not come", workers: 100, least: 100, strike: overTCP(func(x *attacker, c net.Conn) {
		x.send(c, packet(3, long)[:len(long)])
		x.done.Add(1)
		readAll(x, c)
	})},
	{name: "garbage over raw TCP", workers: 4, least: 200, strike: overTCP(func(x *attacker, c net.Conn) {
		x.send(c, []string{"\xff\xff\xff\xff\x01", "\x00\x00\x00\x00", packet(3, long), packet(3, "{}"), packet(1, long), "GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01" + long}[x.done.Add(1)%7])
		readAll(x, c)
	})},
	{name: "lengths of two gibibytes over raw TCP", workers: 4, least: 100, strike: onTCP(func(x *attacker, c net.Conn) {
		x.send(c, "\x7f\xff\xff\xff\x01"+long)
		x.done.Add(1)
		readAll(x, c)
	})},
	{name: "messages over raw TCP whose end does not come", workers: 100, least: 100, strike: onTCP(func(x *attacker, c net.Conn) {
		x.send(c, packet(1, strings.Repeat("x", 500_000))[:400_000])
		x.done.Add(1)
		x.pause(time.Second)
	})},
	{name: "pings without end over raw TCP", workers: 4, least: 20, strike: onTCP(func(x *attacker, c net.Conn) {
		pings := strings.Repeat(packet(9, ""), 1000)
		for x.ctx.Err() == nil && x.send(c, pings) {
			x.done.Add(1)
		}
		x.done.Add(1)
	})},
	{name: "clients of raw TCP that say nothing more", workers: 100, least: 200, strike: func(x *attacker, _ int) {
		c := x.dialTCP()
		if c == nil {
			return
		}
		x.hold(c)
		x.send(c, packet(3, `{"path":"/socket"}`)+packet(1, `["1","1","silent","phx_join",{}]`))
		x.done.Add(1)
		x.pause(50 * time.Millisecond)
	}},
}

// packet is one of raw TCP.
func packet(kind byte, body string) string {
	return string(append(binary.BigEndian.AppendUint32(nil, uint32(1+len(body))), kind)) + body
}

// dialTCP connects to the port for raw TCP, which trusts no proxy, from an address of the
// attack's own. It returns nil as dial does.
func (x *attacker) dialTCP() net.Conn {
	own := x.proxy.As4()
	own[2]++ // not a proxy's
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4(own), 0)), Timeout: time.Second}
	c, err := d.DialContext(x.ctx, "tcp", x.victim.tcp)
	if err != nil {
		x.pause(10 * time.Millisecond)
		return nil
	}
	c.(*net.TCPConn).SetLinger(0) // avoids TIME_WAIT
	return c
}

// overTCP returns an attack on a new connection of raw TCP each time.
func overTCP(strike func(x *attacker, c net.Conn)) func(*attacker, int) {
	return func(x *attacker, _ int) {
		c := x.dialTCP()
		if c == nil {
			return
		}
		defer c.Close()
		strike(x, c)
	}
}

// onTCP is overTCP for clients that the server has accepted.
func onTCP(strike func(x *attacker, c net.Conn)) func(*attacker, int) {
	return overTCP(func(x *attacker, c net.Conn) {
		c.SetReadDeadline(time.Now().Add(2 * time.Second)) // Read reports it
		answer := make([]byte, len(packet(4, "12345678")))
		if !x.send(c, packet(3, `{"path":"/socket"}`)) {
			return
		}
		if _, err := io.ReadFull(c, answer); err == nil && answer[4] == 4 {
			strike(x, c)
		}
	})
}

// readAll reads until the server ends the connection, for two seconds at most.
func readAll(x *attacker, c net.Conn) {
	c.SetReadDeadline(time.Now().Add(2 * time.Second)) // Copy reports it
	io.Copy(io.Discard, c)                             // whatever the answer
}
