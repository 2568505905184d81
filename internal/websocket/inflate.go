package websocket

import (
	"compress/flate"
	"errors"
	"io"
	"sync"
)

// deflateTail is the end of the empty block that a sender leaves out (RFC 7692,
// 7.2.2), and an empty final block, which tells compress/flate that the message
// ends.
const deflateTail = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"

// inflater decompresses one message after another. It takes about 45 KB and is
// held only during decompression, so there are as many as cores.
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
// error is a *CloseError. The buffer grows with the output, and decompression
// stops at the size limit, so a bomb costs no more than the largest message.
// inflateOverhead bounds how often a client may cause that cost.
func inflate(compressed []byte, limits *Limits) (*Buffer, error) {
	in := inflaters.Get().(*inflater)
	defer in.release()
	in.reset(compressed)
	limit := limits.maxMessage()
	out := NewBuffer(min(inflateGuess*len(compressed), limit+1))
	for {
		out = out.Grown(len(out.b)+1, limit+1)
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
		out.Release()
		return nil, err
	}
}

// inflateOverhead returns the units of overhead of a message that has inflated
// from compressed to inflated bytes.
func inflateOverhead(compressed, inflated int) int {
	return max(0, inflated/freeRatio-compressed) * freeRatio / inflateUnit
}

func (in *inflater) reset(compressed []byte) {
	in.src = tailedMessage{message: compressed, tail: deflateTail}
	// It can fail only because of a dictionary.
	_ = in.reader.(flate.Resetter).Reset(&in.src, nil)
}

func (in *inflater) release() {
	in.src = tailedMessage{}
	inflaters.Put(in)
}

// tailedMessage reads a compressed message and then the tail. It implements
// io.ByteReader, so flate never reads beyond the end of the last block. (The
// one of wsflate 1.5.0 puts a zero byte between message and tail, and so
// accepts messages that lack their last byte.)
type tailedMessage struct {
	message []byte
	tail    string
}

// Read implements io.Reader.
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

// ReadByte implements io.ByteReader.
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

// atEnd reports whether nothing of the message follows its final block. Most
// senders make no final block; those that do put a zero byte after it (RFC
// 7692, 7.2.3.4).
func (m *tailedMessage) atEnd() bool {
	return len(m.message) == 0 || len(m.message) == 1 && m.message[0] == 0
}
