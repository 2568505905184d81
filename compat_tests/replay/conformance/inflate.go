package conformance

import (
	"bytes"
	"compress/flate"
	"io"
)

// deflateTail ends a message for compress/flate: the empty block that the sender removes
// (RFC 7692, 7.2.1), and a final empty block.
const deflateTail = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"

// inflater decompresses the messages of one connection.
type inflater struct {
	takeover bool   // the server may refer to earlier messages
	window   int    // how many bytes it may refer to
	history  []byte // the last window bytes, empty without takeover
	reader   io.ReadCloser
}

func newInflater(e extension) *inflater {
	in := &inflater{takeover: true, window: 1 << 15}
	if _, ok := e.params["server_no_context_takeover"]; ok {
		in.takeover = false
	}
	if bits, ok := windowBits(e.params["server_max_window_bits"]); ok {
		in.window = 1 << bits
	}
	in.reader = flate.NewReader(bytes.NewReader(nil))
	return in
}

// message decompresses a message. A reference to an earlier message is an error if the
// server promised to make none.
func (in *inflater) message(compressed []byte) ([]byte, error) {
	source := io.MultiReader(bytes.NewReader(compressed), bytes.NewReader([]byte(deflateTail)))
	if err := in.reader.(flate.Resetter).Reset(source, in.history); err != nil {
		return nil, violationf("compressed message: %v", err)
	}
	out, err := io.ReadAll(io.LimitReader(in.reader, maxServerFrame))
	if err != nil {
		return nil, violationf("compressed message: %v", err)
	}
	if in.takeover {
		in.history = append(in.history, out...)
		if over := len(in.history) - in.window; over > 0 {
			in.history = append([]byte(nil), in.history[over:]...)
		}
	}
	return out, nil
}
