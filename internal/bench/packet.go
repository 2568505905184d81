package bench

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// Raw TCP, as docs/tcp.md specifies it: a length of 4 bytes, which counts the type behind
// it. The types of messages, pings, pongs and closes are WebSocket's opcodes.
const (
	packetConnect  = 3
	packetAccepted = 4
	packetRefused  = 5
	packetHead     = 5
)

// appendPacket appends a packet.
func appendPacket(dst []byte, kind byte, body []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(body)+1))
	return append(append(dst, kind), body...)
}

// readPacketHead is readHead for raw TCP.
func readPacketHead(b []byte) (h frameHead, err error) {
	if len(b) < packetHead {
		return h, nil
	}
	n := binary.BigEndian.Uint32(b)
	if n == 0 || n > maxFrame {
		return h, errBadFrame
	}
	return frameHead{op: b[packetHead-1], final: true, size: packetHead, length: int(n) - 1}, nil
}

// connectRequest returns the body of a connect, in which {n} is the connection's number.
func connectRequest(o *Options, pathAndQuery string) string {
	request := struct {
		Path    string            `json:"path"`
		Headers map[string]string `json:"headers,omitempty"`
		Token   string            `json:"token,omitempty"`
	}{pathAndQuery, map[string]string{}, o.AuthToken}
	for _, h := range o.Headers {
		name, value, _ := strings.Cut(h, ":")
		request.Headers[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	body, _ := json.Marshal(request) // never fails for strings
	return string(body)
}

// refusedReason says why a server has refused a connection, from the body of its answer.
func refusedReason(body []byte) string {
	if len(body) < 4 {
		return "the server refused the connection"
	}
	status := int(binary.BigEndian.Uint16(body))
	return fmt.Sprintf("the server answered %q", fmt.Sprintf("%d %s%s", status, http.StatusText(status), reasonText(body[4:])))
}
