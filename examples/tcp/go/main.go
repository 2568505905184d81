// A client over raw TCP. It joins a topic and prints the messages that it gets. Each line
// of its input is a JSON object, which it pushes as the event "msg".
//
//	go run ./examples/tcp/go 127.0.0.1:4001 room:1 [token]
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"time"
)

const text, connect, accepted, refused, closed, ping, pong = 1, 3, 4, 5, 8, 9, 10

func send(c net.Conn, kind byte, body []byte) {
	head := append(binary.BigEndian.AppendUint32(nil, uint32(1+len(body))), kind)
	if _, err := c.Write(append(head, body...)); err != nil {
		c.Close() // ends receive
	}
}

// receive sends packets, each with its type in front, until the connection ends.
func receive(c net.Conn, packets chan<- []byte) {
	defer close(packets)
	for head := make([]byte, 4); ; {
		_ = c.SetReadDeadline(time.Now().Add(45 * time.Second)) // heartbeats are answered sooner
		if _, err := io.ReadFull(c, head); err != nil {
			return
		}
		packet := make([]byte, binary.BigEndian.Uint32(head)) // a device bounds this
		if _, err := io.ReadFull(c, packet); err != nil {
			return
		}
		packets <- packet
	}
}

// session runs until the connection ends. It returns whether the server had accepted it,
// and how long to wait at least before the next.
func session(c net.Conn, topic, token string, lines <-chan string) (ok bool, least time.Duration) {
	defer c.Close()
	request, _ := json.Marshal(map[string]any{"path": "/socket", "params": map[string]string{"token": token}})
	send(c, connect, request)
	send(c, text, fmt.Appendf(nil, `["1","1",%q,"phx_join",{}]`, topic)) // need not wait for the answer
	packets, beat := make(chan []byte), time.Tick(30*time.Second)
	go receive(c, packets)
	for {
		select {
		case line := <-lines:
			send(c, text, fmt.Appendf(nil, `["1","2",%q,"msg",%s]`, topic, line))
		case <-beat:
			send(c, text, []byte(`[null,"3","phoenix","heartbeat",{}]`))
		case p, open := <-packets:
			switch {
			case !open:
				return ok, least
			case p[0] == accepted:
				ok = true
			case p[0] == refused:
				least = time.Duration(binary.BigEndian.Uint16(p[3:])) * time.Second
				fmt.Printf("refused %d %s\n", binary.BigEndian.Uint16(p[1:]), p[5:])
			case p[0] == text:
				fmt.Printf("%s\n", p[1:])
			case p[0] == ping:
				send(c, pong, p[1:])
			case p[0] == closed && len(p) > 2:
				fmt.Printf("closed %d %s\n", binary.BigEndian.Uint16(p[1:]), p[3:])
			}
		}
	}
}

func main() {
	if len(os.Args) < 3 || len(os.Args) > 4 {
		fmt.Fprintln(os.Stderr, "usage: client HOST:PORT TOPIC [TOKEN]")
		os.Exit(2)
	}
	lines, token := make(chan string), append(os.Args, "")[3]
	go func() {
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			lines <- in.Text()
		}
	}()
	for failures := 0; ; failures++ {
		ok, least := false, time.Duration(0)
		if c, err := net.DialTimeout("tcp", os.Args[1], 10*time.Second); err == nil {
			ok, least = session(c, os.Args[2], token, lines)
		}
		if ok {
			failures = 0
		}
		most := min(time.Second<<min(failures, 5), 30*time.Second)
		wait := least + most/2 + rand.N(most/2) // so that not all come back at once
		fmt.Printf("reconnecting in %v\n", wait)
		time.Sleep(wait)
	}
}
