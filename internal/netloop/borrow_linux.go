package netloop

import (
	"bytes"
	"crypto/tls"
	"reflect"
	"unsafe"
)

// A tls.Conn keeps two buffers, for records that it reads and for handshake messages, at the largest size that they ever
// had: 3.5 KiB after the handshake with a browser, and 32 KiB later. Most connections are idle, so a loop lends one
// buffer to all of its connections in turn. crypto/tls has no interface for that, so its fields are found by name and
// type. If a version of Go has other fields, nothing is lent or freed (see [LendsBuffers]), and TestMemoryOfSecured
// fails.
var (
	rawInput  = offsetOf("rawInput") // records that were read and not yet decrypted
	handshake = offsetOf("hand")     // an incomplete handshake message
)

// LendsBuffers reports whether idle TLS connections have no buffers. If crypto/tls has changed so that they cannot be
// lent, each connection keeps up to 32 KiB.
func LendsBuffers() bool { return rawInput != 0 && handshake != 0 }

// offsetOf returns the offset of a bytes.Buffer in a tls.Conn, or 0 if there is no such field.
func offsetOf(field string) uintptr {
	f, ok := reflect.TypeFor[tls.Conn]().FieldByName(field)
	if !ok || f.Type != reflect.TypeFor[bytes.Buffer]() {
		return 0
	}
	return f.Offset
}

func bufferAt(t *tls.Conn, offset uintptr) *bytes.Buffer {
	return (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(t), offset))
}

// borrow makes t read into buf, which must be empty. The part of a record that t already has is copied to its start.
func borrow(t *tls.Conn, buf []byte) {
	if rawInput != 0 {
		b := bufferAt(t, rawInput)
		*b = *bytes.NewBuffer(append(buf, b.Bytes()...))
	}
}

// giveBack undoes borrow: t gets a copy of the part of a record that it has. All decrypted data must have been read.
func giveBack(t *tls.Conn) {
	if rawInput != 0 {
		b := bufferAt(t, rawInput)
		*b = *bytes.NewBuffer(append([]byte(nil), b.Bytes()...))
	}
	if handshake != 0 {
		if b := bufferAt(t, handshake); b.Len() == 0 {
			*b = bytes.Buffer{}
		}
	}
}
