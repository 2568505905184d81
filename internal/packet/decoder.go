package packet

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/mycelium-rt/mycelium/internal/websocket"
)

// Faults of a connected client. Each ends the connection.
var (
	errEmpty    = &websocket.CloseError{Code: websocket.CloseProtocolError, Reason: "the length of a packet is 0; it counts the type byte, so it is at least 1"}
	errType     = &websocket.CloseError{Code: websocket.CloseProtocolError, Reason: "unexpected type of packet; after its connect a client may send types 1, 2, 8, 9 and 10"}
	errControl  = &websocket.CloseError{Code: websocket.CloseProtocolError, Reason: "the body of a close, ping or pong has more than 125 bytes"}
	errText     = &websocket.CloseError{Code: websocket.CloseInvalidPayload, Reason: "text is not UTF-8"}
	errTooLarge = &websocket.CloseError{Code: websocket.CloseTooBig, Reason: "message over the limit"}
)

// Decoder turns the bytes of a connected client into messages. It belongs to one
// goroutine (its loop), must not be copied once fed, and holds no memory between packets.
type Decoder struct {
	cut   *websocket.Buffer // the beginning of an incomplete packet; nil between packets
	ended bool              // after a close or an error: further bytes are dropped
}

// FeedSome decodes the next bytes of the stream, which may be cut anywhere, and calls h
// for every complete packet. h may modify data. A packet that arrives in one piece is passed
// on without a copy. The body of a Text or Binary may have at most most bytes; most must be
// the same in all calls.
//
// Errors, ErrPause, and what follows them are as in websocket.Decoder.FeedSome, except
// that the reason of a *websocket.CloseError is meant for the client.
func (d *Decoder) FeedSome(data []byte, most int, h websocket.Handler) (rest []byte, err error) {
	for len(data) > 0 && !d.ended {
		p, n, err := d.takePacket(data, most)
		if err != nil {
			d.End()
			return nil, err
		}
		data = data[n:]
		if p.body == nil {
			return nil, nil // all of data is kept
		}
		if err := d.deliver(p, h); err == websocket.ErrPause { //nolint:errorlint // it is never wrapped
			return data, err
		} else if err != nil {
			d.End()
			return nil, err
		}
	}
	return nil, nil
}

// End frees what is kept and drops further bytes. A handler may call it.
func (d *Decoder) End() {
	d.cut.Release()
	d.cut, d.ended = nil, true
}

// packet is a complete packet. Its body is nil only in the zero value.
type packet struct {
	kind Type
	body []byte
	kept *websocket.Buffer // holds body; nil if body is part of the data that was fed
}

// takePacket takes a packet from the start of data, or the rest of one. n is how much of
// data belongs to it: all of it if the packet is not complete.
func (d *Decoder) takePacket(data []byte, most int) (p packet, n int, err error) {
	if d.cut == nil && len(data) >= HeaderSize {
		size, err := sizeOf(data, most)
		switch {
		case err != nil:
			return p, 0, err
		case size <= len(data):
			return packet{kind: Type(data[LengthSize]), body: data[HeaderSize:size:size]}, size, nil
		}
	}
	size := HeaderSize
	if d.cut != nil && len(d.cut.Bytes()) >= HeaderSize {
		size, _ = sizeOf(d.cut.Bytes(), most) // it was checked when it was complete
	}
	if n = d.keep(data, size); len(d.cut.Bytes()) < HeaderSize {
		return p, n, checkLength(d.cut.Bytes(), most)
	}
	if size, err = sizeOf(d.cut.Bytes(), most); err != nil {
		return p, 0, err
	}
	n += d.keep(data[n:], size)
	kept := d.cut
	if len(kept.Bytes()) < size {
		return p, n, nil
	}
	d.cut = nil
	return packet{kind: Type(kept.Bytes()[LengthSize]), body: kept.Bytes()[HeaderSize:size:size], kept: kept}, n, nil
}

// keep appends to d.cut what data holds of a packet of size bytes, and returns how much
// that is. Memory grows with the bytes that have arrived, not with the announced length.
func (d *Decoder) keep(data []byte, size int) (n int) {
	if d.cut == nil {
		d.cut = websocket.NewBuffer(HeaderSize)
	}
	have := len(d.cut.Bytes())
	n = min(len(data), max(0, size-have))
	d.cut = d.cut.Grown(have+n, size)
	d.cut.Append(data[:n])
	return n
}

// checkLength checks a length as soon as it is complete, before the type has arrived.
func checkLength(head []byte, most int) error {
	if len(head) < LengthSize {
		return nil
	}
	switch n := binary.BigEndian.Uint32(head); {
	case n == 0:
		return errEmpty
	case uint64(n)-1 > uint64(max(most, MaxControl)):
		return errTooLarge
	}
	return nil
}

// sizeOf returns the size of the packet that begins with head, which has at least
// HeaderSize bytes.
func sizeOf(head []byte, most int) (int, error) {
	if err := checkLength(head, most); err != nil {
		return 0, err
	}
	body := int(binary.BigEndian.Uint32(head)) - 1
	switch t := Type(head[LengthSize]); {
	case t == Text, t == Binary:
		if body > most {
			return 0, errTooLarge
		}
	case t != Close && t != Ping && t != Pong:
		return 0, errType
	case body > MaxControl:
		return 0, errControl
	}
	return HeaderSize + body, nil
}

// deliver calls the handler, which may call End. The packet is not the decoder's any
// more.
func (d *Decoder) deliver(p packet, h websocket.Handler) error {
	defer p.kept.Release()
	switch p.kind {
	case Text:
		if !utf8.Valid(p.body) {
			return errText
		}
		return h.HandleMessage(false, p.body)
	case Binary:
		return h.HandleMessage(true, p.body)
	case Close:
		if err := websocket.CheckClose(p.body); err != nil {
			return err
		}
		d.ended = true
	}
	return h.HandleControl(websocket.Op(p.kind), p.body)
}
