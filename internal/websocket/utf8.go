package websocket

import "unicode/utf8"

// utf8Checker checks text that comes in pieces, and fails at the first byte
// that makes it invalid whatever follows. The zero utf8Checker is at the start
// of a text.
type utf8Checker struct {
	need   uint8 // bytes missing from the current character
	lo, hi uint8 // range of the next byte; meaningless if need is 0
}

// atBorder reports whether the text so far ends with a whole character.
func (c *utf8Checker) atBorder() bool { return c.need == 0 }

// accept checks the next piece of the text.
func (c *utf8Checker) accept(p []byte) bool {
	for c.need > 0 && len(p) > 0 {
		if !c.step(p[0]) {
			return false
		}
		p = p[1:]
	}
	// Whole characters are checked by the standard library, which is many times
	// faster than a step per byte; a character that is cut off at the end
	// begins in the last three bytes.
	cut := len(p)
	for i := len(p) - 1; i >= 0 && i >= len(p)-3; i-- {
		if utf8.RuneStart(p[i]) {
			if !utf8.FullRune(p[i:]) {
				cut = i
			}
			break
		}
	}
	if !utf8.Valid(p[:cut]) {
		return false
	}
	for _, b := range p[cut:] {
		if !c.step(b) {
			return false
		}
	}
	return true
}

// step takes one byte (the table of RFC 3629, 4).
func (c *utf8Checker) step(b byte) bool {
	if c.need > 0 {
		if b < c.lo || b > c.hi {
			return false
		}
		c.need--
		c.lo, c.hi = 0x80, 0xbf
		return true
	}
	c.lo, c.hi = 0x80, 0xbf
	switch {
	case b < 0x80:
		return true
	case b >= 0xc2 && b <= 0xdf:
		c.need = 1
	case b >= 0xe0 && b <= 0xef:
		c.need = 2
		switch b {
		case 0xe0:
			c.lo = 0xa0 // no overlong forms
		case 0xed:
			c.hi = 0x9f // no surrogates
		}
	case b >= 0xf0 && b <= 0xf4:
		c.need = 3
		switch b {
		case 0xf0:
			c.lo = 0x90
		case 0xf4:
			c.hi = 0x8f // nothing above U+10FFFF
		}
	default:
		return false
	}
	return true
}
