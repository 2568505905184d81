package netloop

import (
	"bytes"
	"crypto/tls"
	"reflect"
	"unsafe"
)

// A tls.Conn keeps the buffer for records that it reads, and that for messages of a handshake, as large as they ever
// became: 3.5 KiB after the handshake with a browser, and 32 KiB later. Most connections are idle, so a loop lends one
// buffer to all of its connections in turn. crypto/tls has no means for that; its fields are found by their names, and
// nothing is lent or freed if a version of Go has others: see [LendsBuffers]. TestMemoryOfSecured notices.
var (
	rawInput  = offsetOf("rawInput") // the records that were read, and not yet opened
	handshake = offsetOf("hand")     // a message of a handshake that is not complete
)

// LendsBuffers reports whether idle TLS connections have no buffers. Otherwise each has up to 32 KiB, because crypto/tls
// is not as this package knows it.
func LendsBuffers() bool { return rawInput != 0 && handshake != 0 }

// offsetOf returns the offset of a bytes.Buffer in a tls.Conn, 0 if there is no such field.
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

// borrow has t read into buf, which is empty, behind what it has of a record.
func borrow(t *tls.Conn, buf []byte) {
	if rawInput != 0 {
		b := bufferAt(t, rawInput)
		*b = *bytes.NewBuffer(append(buf, b.Bytes()...))
	}
}

// giveBack undoes borrow, with a copy of what t has of a record. All that was decrypted has been read.
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
