package websocket

import "strings"

const (
	// maxChunkLine is the largest line with the size of a chunk and its
	// extensions, in bytes. net/http takes 4,096.
	maxChunkLine = 256
	// maxTrailers is the largest trailer section, in bytes. net/http takes what
	// its buffer of 4,096 holds.
	maxTrailers = 4000
)

// Body finds where the body of a request ends (RFC 9112, 6 and 7.1), so that
// what follows is read as the next request. It is as strict as Parse: no bare
// LF, no control character in an extension, no folded trailer.
type Body struct {
	state bodyState
	left  int64  // bytes of the content or the chunk still to come
	line  []byte // what has come of a line with a chunk's size or a trailer
	size  int    // of all trailers
}

type bodyState uint8

const (
	bodyEnded bodyState = iota // the zero Body is an empty one
	bodyContent
	chunkLine
	chunkData
	chunkEnd // CR LF behind the data
	trailers
)

// NewBody returns the body that follows a head whose Request.ContentLength is
// n.
func NewBody(n int64) Body {
	switch {
	case n < 0:
		return Body{state: chunkLine}
	case n > 0:
		return Body{state: bodyContent, left: n}
	}
	return Body{}
}

// Ended reports whether the whole body has been fed.
func (b *Body) Ended() bool { return b.state == bodyEnded }

// Feed takes the next bytes of the connection and returns how many of them
// belong to the body. The error is a *HandshakeError, after which nothing more
// can be read.
func (b *Body) Feed(p []byte) (n int, err error) {
	for n < len(p) && b.state != bodyEnded {
		if b.state == bodyContent || b.state == chunkData {
			step := min(b.left, int64(len(p)-n))
			n += int(step)
			b.left -= step
			switch {
			case b.left > 0:
			case b.state == bodyContent:
				b.state = bodyEnded
			default:
				b.state = chunkEnd
			}
			continue
		}
		c := p[n]
		n++
		if c != '\n' {
			if b.line = append(b.line, c); len(b.line) > b.maxLine() {
				return n, badRequest("chunk size, extension or trailers too long")
			}
			continue
		}
		if len(b.line) == 0 || b.line[len(b.line)-1] != '\r' {
			return n, badRequest("line of a chunked body does not end in CR LF")
		}
		if err := b.endLine(string(b.line[:len(b.line)-1])); err != nil {
			return n, err
		}
		b.line = b.line[:0]
	}
	return n, nil
}

func (b *Body) maxLine() int {
	switch b.state {
	case chunkEnd:
		return len("\r")
	case trailers:
		return maxTrailers - b.size
	}
	return maxChunkLine
}

// endLine handles a complete line, without CR LF, according to the state.
func (b *Body) endLine(line string) error {
	switch b.state {
	case chunkEnd:
		if line != "" {
			return badRequest("chunk is longer than its size")
		}
		b.state = chunkLine
	case trailers:
		if line == "" {
			b.state = bodyEnded
			return nil
		}
		b.size += len(line) + len("\r\n")
		_, _, err := ParseField(line)
		return err
	default:
		size, ok := chunkSize(line)
		if !ok {
			return badRequest("malformed chunk size")
		}
		b.left, b.state = size, chunkData
		if size == 0 {
			b.state = trailers
		}
	}
	return nil
}

// chunkSize reads "1f" or "1f;extension".
func chunkSize(line string) (size int64, ok bool) {
	digits, extension, _ := strings.Cut(line, ";")
	if digits == "" || len(digits) > 15 { // 60 bits
		return 0, false
	}
	for i := range len(digits) {
		v, ok := hexDigit(digits[i])
		if !ok {
			return 0, false
		}
		size = size<<4 | int64(v)
	}
	for i := range len(extension) {
		if c := extension[i]; c < ' ' && c != '\t' || c == 0x7f {
			return 0, false
		}
	}
	return size, true
}
