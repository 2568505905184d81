package websocket

import (
	"compress/flate"
	"errors"
	"io"
	"sync"
)

// deflateTail is the end of the empty block that a sender leaves out (RFC 7692,
// 7.2.2), and an empty final block, so that compress/flate sees an end.
const deflateTail = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"

// inflater decompresses one message after another. It has about 45 KB and is
// held only while a message is decompressed, so there are as many as cores.
type inflater struct {
	src    tailedMessage
	reader io.Reader // of package flate, reads src
}

var inflaters = sync.Pool{New: func() any {
	in := new(inflater)
	in.reader = flate.NewReader(&in.src)
	return in
}}

// inflate decompresses a message into a buffer, which the caller releases. The
// error is a *CloseError. The buffer grows with what comes out, and nothing is
// decompressed beyond the largest message, so a bomb costs no more than the
// largest message does. How often a client may cause that cost is bounded by
// inflateOverhead.
func inflate(compressed []byte, limits *Limits) (*buffer, error) {
	in := inflaters.Get().(*inflater)
	defer in.release()
	in.reset(compressed)
	limit := limits.maxMessage()
	out := newBuffer(min(inflateGuess*len(compressed), limit+1))
	for {
		out = out.grown(len(out.b)+1, limit+1)
		n, err := in.reader.Read(out.b[len(out.b):cap(out.b)])
		out.b = out.b[:len(out.b)+n]
		switch {
		case len(out.b) > limit:
			err = errMessageTooBig
		case errors.Is(err, io.EOF) && in.src.atEnd():
			return out, nil
		case err != nil:
			err = errDeflate
		default:
			continue
		}
		out.release()
		return nil, err
	}
}

// inflateOverhead returns how many units of overhead a message is that has
// become inflated bytes.
func inflateOverhead(compressed, inflated int) int {
	return max(0, inflated/freeRatio-compressed) * freeRatio / inflateUnit
}

func (in *inflater) reset(compressed []byte) {
	in.src = tailedMessage{message: compressed, tail: deflateTail}
	// It can only fail because of a dictionary.
	_ = in.reader.(flate.Resetter).Reset(&in.src, nil)
}

func (in *inflater) release() {
	in.src = tailedMessage{}
	inflaters.Put(in)
}

// tailedMessage reads a compressed message and then the tail. It reads single
// bytes too, and so is never read beyond the end of the last block. (That of
// wsflate 1.5.0 puts a zero byte between the two, and with it takes messages
// that lack their last byte.)
type tailedMessage struct {
	message []byte
	tail    string
}

// Read is io.Reader's.
func (m *tailedMessage) Read(p []byte) (n int, err error) {
	if n = copy(p, m.message); n > 0 {
		m.message = m.message[n:]
		return n, nil
	}
	if len(m.tail) == 0 {
		return 0, io.EOF
	}
	n = copy(p, m.tail)
	m.tail = m.tail[n:]
	return n, nil
}

// ReadByte is io.ByteReader's.
func (m *tailedMessage) ReadByte() (b byte, err error) {
	switch {
	case len(m.message) > 0:
		b, m.message = m.message[0], m.message[1:]
	case len(m.tail) > 0:
		b, m.tail = m.tail[0], m.tail[1:]
	default:
		return 0, io.EOF
	}
	return b, nil
}

// atEnd reports whether nothing of the message is left behind its final block.
// Most senders make none; those who do put a zero byte behind it (RFC 7692,
// 7.2.3.4).
func (m *tailedMessage) atEnd() bool {
	return len(m.message) == 0 || len(m.message) == 1 && m.message[0] == 0
}
