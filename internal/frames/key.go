// Package frames turns messages into the bytes that transports send.
//
// What a socket receives is chosen by its [Key]: the serializer of its dialect
// and version, the framing of its transport, and whether that compresses. A
// broadcast is a [Set] of frames by key, each made when the first socket wants it
// and shared by all sockets with that key; a push or a reply is one frame.
//
// A new dialect is a wire.Serializer, whose number [EncodingOf] assigns; a new
// framing is a [Framer] in a file of its own and a line in the table of framings.
// Neither changes anything else.
package frames

import (
	"errors"
	"fmt"
	"reflect"
	"sync"

	"github.com/mycelium-rt/mycelium/wire"
)

// Key chooses what a socket receives. Sockets with equal keys receive the same
// bytes of a broadcast. The zero Key is the common one, that of most sockets: version
// 2 of Phoenix's dialect, over WebSocket, without compression.
type Key struct {
	Encoding    Encoding
	Framing     Framing
	Compression Compression
}

func (k Key) isCommon() bool { return k == Key{} }

// Compression is what a transport has agreed on with a client; 0 is none. Other
// values are the framing's own, such as a size of window.
type Compression uint8

// Encoding is the number of a wire.Serializer in this process.
type Encoding uint8

// encodings are all serializers in use, by their numbers.
var encodings = struct {
	sync.RWMutex
	count int

	// An element is written before its number is known to anybody, and never
	// changes, so it is read without the lock.
	serializers [1 << 8]wire.Serializer
}{count: 2, serializers: [1 << 8]wire.Serializer{wire.V2{}, wire.V1{}}}

var errEncodings = errors.New("frames: more than 256 different serializers: a dialect must return the same few values")

// EncodingOf returns the number of a serializer, a new one for a serializer that
// has none. It fails for values that cannot be compared, and for the 257th.
func EncodingOf(s wire.Serializer) (Encoding, error) {
	if s == nil || !reflect.TypeOf(s).Comparable() {
		return 0, fmt.Errorf("frames: serializer of type %T cannot be compared with ==", s)
	}
	encodings.RLock()
	e, known := findEncoding(s)
	encodings.RUnlock()
	if known {
		return e, nil
	}
	encodings.Lock()
	defer encodings.Unlock()
	if e, known = findEncoding(s); known {
		return e, nil
	}
	if encodings.count == len(encodings.serializers) {
		return 0, errEncodings
	}
	e = Encoding(encodings.count)
	encodings.serializers[e] = s
	encodings.count++
	return e, nil
}

func findEncoding(s wire.Serializer) (e Encoding, known bool) {
	for i, other := range encodings.serializers[:encodings.count] {
		if other == s {
			return Encoding(i), true
		}
	}
	return 0, false
}

// Serializer returns the serializer that has the number.
func (e Encoding) Serializer() wire.Serializer { return encodings.serializers[e] }
