package websocket

import (
	"errors"
	"sync"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// ErrStop is returned by a Handler to stop a Feed without an error of the
// client, for example because the callback has closed the connection.
var ErrStop = errors.New("websocket: stopped by the handler")

// ErrPause is returned by HandleMessage if it has handled the message and wants
// the next one later: see [Decoder.FeedSome].
var ErrPause = errors.New("websocket: paused by the handler")

// Handler receives what a Decoder finds. Any error except ErrPause ends the
// decoding: Feed releases its buffers, drops the rest of its data and returns
// that error.
type Handler interface {
	// HandleMessage receives one whole message. payload is valid, and may be
	// modified, during the call. If not binary, it is valid UTF-8.
	HandleMessage(binary bool, payload []byte) error
	// HandleControl receives a ping, a pong or a close, depending on op.
	// payload is valid, and may be modified, during the call. The payload of a
	// close has been checked (see ParseClose); everything after a close is
	// dropped.
	HandleControl(op Op, payload []byte) error
	// HandleOverhead reports work that the client causes in addition to its
	// messages, in units of about the cost of a small frame: small fragments of
	// an unfinished message, and the size that a compressed message inflates to
	// beyond 100 times its own. Messages and control frames are not included.
	HandleOverhead(units int) error
}

// Decoder turns the bytes of one client into messages. The zero value is ready.
// It belongs to one goroutine (its loop), must not be copied once fed, and holds
// no memory between messages.
type Decoder struct {
	cut *state // of a message or frame that is not complete; nil between messages

	// Deflate, if not NoDeflate, lets the client compress its messages. Static
	// too.
	Deflate Deflate
	ended   bool // after a close frame or an error: drop everything
	calling bool // a handler runs; Reset clears it
}

// state is what a Decoder knows of a message or frame that is not complete. The
// zero value is between messages.
type state struct {
	// Across frames: the unfinished message.

	buf        *Buffer // its bytes, followed by those of a cut-off frame; often nil
	text       utf8Checker
	inMessage  bool // a fragment without FIN was the last data frame
	binary     bool // the message's type, while it is unfinished or being read
	compressed bool // the same

	// Within a frame.

	remaining int     // payload bytes still to come
	start     int     // where in buf the payload of a control frame begins
	mask      [4]byte // the masking key, rotated to the next byte
	op        Op
	fin       bool
	inPayload bool                    // the head is complete
	begun     bool                    // part of the payload came with an earlier slice
	headLen   uint8                   // bytes in head
	head      [maxClientHead - 1]byte // a head that was cut off
}

// between reports whether the next byte begins a message.
func (s *state) between() bool { return !s.inMessage && !s.inPayload && s.headLen == 0 }

var states = sync.Pool{New: func() any { return new(state) }}

// decoding is a Decoder in a call of FeedSome. Its state is on the stack, because
// mostly none is left at the end of the call.
type decoding struct {
	*Decoder
	limits *Limits
	state
}

// Feed decodes the next bytes of the stream, which may be cut anywhere, within the
// default limits, and calls h for everything that is complete. data is modified (unmasked in place)
// and not kept. A complete frame is passed on without a copy.
//
// A *CloseError is a violation by the client: send its code and close. Other
// errors come from the handler. After an error, and after a close frame,
// further bytes are dropped and Feed returns nil.
func (d *Decoder) Feed(data []byte, h Handler) error {
	for {
		var err error
		if data, err = d.FeedSome(data, nil, h); !errors.Is(err, ErrPause) {
			return err
		}
	}
}

// FeedSome is Feed within some limits, nil: the default ones, until HandleMessage returns
// ErrPause. The limits must be the same in all calls for a connection: a Decoder does not keep them, because each idle
// connection has one. If the handler pauses, rest is the part
// of data that has not been decoded, to be fed later. A few compressed bytes
// can be many large messages, so a handler that cannot take more must not be
// given the rest of what was read.
func (d *Decoder) FeedSome(data []byte, limits *Limits, h Handler) (rest []byte, err error) {
	if d.ended {
		return nil, nil
	}
	if limits == nil {
		limits = &defaultLimits
	}
	w := decoding{Decoder: d, limits: limits}
	cut := d.cut
	if cut != nil {
		w.state, d.cut = *cut, nil
	}
	rest, err = w.run(data, h)
	switch {
	case !w.between():
		if cut == nil {
			cut = states.Get().(*state)
		}
		*cut, d.cut = w.state, cut
	case cut != nil:
		*cut = state{}
		states.Put(cut)
	}
	return rest, err
}

// run decodes data until it is used up, or the handler has had enough.
func (d *decoding) run(data []byte, h Handler) (rest []byte, err error) {
	for !d.ended {
		if !d.inPayload {
			n, err := d.takeHead(data)
			if err != nil {
				return nil, d.fail(err)
			}
			if !d.inPayload {
				return nil, nil
			}
			data = data[n:]
			if !d.fin && d.remaining < smallFragment {
				if err := d.report(1, h); err != nil {
					return nil, err
				}
			}
		}
		n := min(d.remaining, len(data))
		if err := d.takePayload(data[:n], h); err != nil {
			return data[n:], err
		}
		data = data[n:]
		if d.inPayload {
			return nil, nil
		}
	}
	return nil, nil
}

// Reset releases buffers and returns the decoder to its initial state, with the
// same Deflate. Call it when the connection ends in the middle of a
// frame. A handler may call it; the Feed that it is called from then ends with
// ErrStop.
func (d *Decoder) Reset() {
	if cut := d.cut; cut != nil {
		cut.buf.Release()
		*cut = state{}
		states.Put(cut)
	}
	*d = Decoder{Deflate: d.Deflate}
}

// held returns the number of bytes in the buffer.
func (d *decoding) held() int {
	if d.buf == nil {
		return 0
	}
	return len(d.buf.b)
}

// fail ends the decoding and returns err.
func (d *decoding) fail(err error) error {
	d.buf.Release()
	d.state = state{}
	d.ended = true
	return err
}

// takeHead reads the head of a frame from the start of data, or the rest of one
// that was cut off, and returns how many bytes of data belong to it. It sets
// inPayload if the head is complete.
func (d *decoding) takeHead(data []byte) (n int, err error) {
	src := data
	had := int(d.headLen)
	var joined [maxClientHead]byte
	if had > 0 {
		copy(joined[:], d.head[:had])
		src = joined[:had+copy(joined[had:], data)]
	}
	head, size, closeErr := d.parseHead(src)
	switch {
	case closeErr != nil:
		return 0, closeErr
	case size > 0:
		d.beginPayload(head)
		return size - had, nil
	}
	d.headLen = uint8(copy(d.head[:], src)) // an incomplete head fits
	return len(data), nil
}

// beginPayload goes from a complete head to its payload.
func (d *decoding) beginPayload(head frameHead) {
	d.op, d.fin, d.mask = head.op, head.fin, head.mask
	d.remaining = head.length
	d.start = d.held()
	d.inPayload, d.begun = true, false
	d.headLen = 0
	if head.op == OpText || head.op == OpBinary {
		d.binary, d.compressed = head.op == OpBinary, head.compressed
	}
}

// takePayload handles the next part of a frame's payload, if possible all of
// it. Its errors have been through fail.
func (d *decoding) takePayload(part []byte, h Handler) error {
	ws.Cipher(part, d.mask, 0)
	d.remaining -= len(part)
	d.inPayload = d.remaining > 0
	if d.inPayload {
		d.mask = turned(d.mask, len(part))
	}
	whole := !d.inPayload && !d.begun
	d.begun = d.begun || len(part) > 0
	switch {
	case d.op.IsControl():
		return d.takeControl(part, whole, h)
	case whole && d.fin && !d.inMessage:
		if d.compressed {
			return d.deliverInflated(part, nil, h)
		}
		if !d.binary && !utf8.Valid(part) {
			return d.fail(errText)
		}
		return d.deliver(part, nil, h)
	}
	return d.takeFragment(part, h)
}

// turned returns the mask for the bytes after n masked bytes.
func turned(mask [4]byte, n int) (m [4]byte) {
	for i := range m {
		m[i] = mask[(i+n)&3]
	}
	return m
}

// takeFragment is takePayload for data frames that are not a whole message in
// one slice.
func (d *decoding) takeFragment(part []byte, h Handler) error {
	last := !d.inPayload && d.fin
	if !d.binary && !d.compressed && (!d.text.accept(part) || last && !d.text.atBorder()) {
		return d.fail(errText)
	}
	d.collect(part)
	if d.inPayload {
		return nil
	}
	d.inMessage = !d.fin
	if d.inMessage {
		return nil
	}
	buf := d.buf
	d.buf = nil
	var message []byte
	if buf != nil {
		message = buf.b
	}
	if d.compressed {
		return d.deliverInflated(message, buf, h)
	}
	return d.deliver(message, buf, h)
}

// deliverInflated is deliver for a compressed message, which is decompressed
// when it is complete, so that until then only its bytes are held.
func (d *decoding) deliverInflated(compressed []byte, buf *Buffer, h Handler) error {
	out, err := inflate(compressed, d.limits)
	buf.Release()
	if err != nil {
		return d.fail(err)
	}
	if !d.binary && !utf8.Valid(out.b) {
		out.Release()
		return d.fail(errText)
	}
	if units := inflateOverhead(len(compressed), len(out.b)); units > 0 {
		if err := d.report(units, h); err != nil {
			out.Release()
			return err
		}
	}
	return d.deliver(out.b, out, h)
}

// takeControl is takePayload for control frames. One may come between the
// fragments of a message: if it is cut off, it waits behind the message's
// bytes.
func (d *decoding) takeControl(part []byte, whole bool, h Handler) error {
	if !whole {
		d.collect(part)
		if d.inPayload {
			return nil
		}
		part = d.buf.b[d.start:]
	}
	if d.op == OpClose {
		if err := CheckClose(part); err != nil {
			return d.fail(err)
		}
	}
	buf, keep, op := d.buf, d.start, d.op
	d.buf = nil
	if !d.inMessage {
		return d.deliver(part, buf, h)
	}
	if err := d.deliver(part, nil, h); err != nil || op == OpClose {
		buf.Release()
		return err
	}
	if buf != nil {
		buf.b = buf.b[:keep]
		d.buf = buf
	}
	return nil
}

// deliver calls the handler with a complete payload and then releases buf,
// which may be nil. The buffer of payload must no longer be the decoder's, so
// that a Reset by the handler does not release it during the call. The
// payload's capacity is its length, because the next frames follow it.
func (d *decoding) deliver(payload []byte, buf *Buffer, h Handler) (err error) {
	payload = payload[:len(payload):len(payload)]
	op := d.op
	d.calling = true
	if op.IsControl() {
		err = h.HandleControl(op, payload)
	} else {
		err = h.HandleMessage(d.binary, payload)
	}
	if err == nil && !d.calling {
		err = ErrStop
	}
	d.calling = false
	buf.Release()
	if err != nil && errors.Is(err, ErrPause) && !op.IsControl() {
		return err
	}
	if err != nil || op == OpClose {
		return d.fail(err)
	}
	return nil
}

// report tells the handler of overhead. The handler may call Reset.
func (d *decoding) report(units int, h Handler) error {
	d.calling = true
	err := h.HandleOverhead(units)
	if err == nil && !d.calling {
		err = ErrStop
	}
	d.calling = false
	if err != nil {
		return d.fail(err)
	}
	return nil
}

// collect keeps part in the buffer. Memory grows with the bytes that have come,
// not with the announced length.
func (d *decoding) collect(part []byte) {
	if len(part) == 0 {
		return
	}
	size := d.held() + len(part)
	if d.buf == nil {
		d.buf = NewBuffer(size)
	} else {
		d.buf = d.buf.Grown(size, d.mostHeld(size))
	}
	d.buf.b = append(d.buf.b, part...)
}

// mostHeld returns the most bytes that the buffer may come to hold, now that it
// holds size. The exact number is known only in a message's last frame: before
// that, a buffer cut to the end of the frame would be copied for each of a
// million fragments.
func (d *decoding) mostHeld(size int) int {
	if d.fin && !d.op.IsControl() {
		return size + d.remaining
	}
	return max(size+d.remaining, d.limits.maxMessage()+maxControlPayload)
}
