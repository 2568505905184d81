package wire

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// Every byte of a word set to one value.
const (
	wordOnes    = 0x0101010101010101
	wordHigh    = wordOnes * 0x80
	wordControl = wordOnes * 0x20
	wordQuote   = wordOnes * '"'
	wordSlash   = wordOnes * '\\'
)

// plainEnd is the index of the first byte from i on that is not a plain character of a JSON string: a quote, a backslash, a
// control character or part of a character beyond ASCII; len(b) if there is none.
func plainEnd(b []byte, i int) int {
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		// Each subtraction sets the high bit of a byte that was below what is subtracted. A borrow spoils only bytes
		// after one that is marked, so the first mark is right.
		mark := ((x - wordControl) | ((x ^ wordQuote) - wordOnes) | ((x ^ wordSlash) - wordOnes) | x) & wordHigh
		if mark != 0 {
			return i + bits.TrailingZeros64(mark)/8
		}
	}
	for i < len(b) && isPlain(b[i]) {
		i++
	}
	return i
}

// verbatimEnd is the index of the first byte from i on that cannot stand in a JSON string as it is.
func verbatimEnd(b []byte, i int) int {
	for {
		i = plainEnd(b, i)
		if i == len(b) || b[i] < utf8.RuneSelf {
			return i
		}
		var f fault
		if i, f = scanBeyondASCII(b, i); f != faultNone {
			return i
		}
	}
}

func isPlain(c byte) bool {
	return c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\'
}

// scanString checks the string whose quote stands at i and returns where it ends, after its second quote.
func scanString(b []byte, i int) (int, fault) {
	i++
	for {
		i = plainEnd(b, i)
		if i >= len(b) {
			return i, faultEnd
		}
		c := b[i]
		if c == '"' {
			return i + 1, faultNone
		}
		f := faultControl
		if c == '\\' {
			i, f = scanEscape(b, i)
		} else if c >= utf8.RuneSelf {
			i, f = scanBeyondASCII(b, i)
		}
		if f != faultNone {
			return i, f
		}
	}
}

// scanBeyondASCII checks the run of UTF-8 characters at i.
func scanBeyondASCII(b []byte, i int) (int, fault) {
	for i < len(b) && b[i] >= utf8.RuneSelf {
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size == 1 {
			return i, faultUTF8
		}
		i += size
	}
	return i, faultNone
}

// scanEscape checks the escape at i. A pair of surrogates counts as one escape.
func scanEscape(b []byte, i int) (int, fault) {
	if i+1 >= len(b) {
		return len(b), faultEnd
	}
	if b[i+1] != 'u' {
		if unescaped[b[i+1]] == 0 {
			return i, faultEscape
		}
		return i + 2, faultNone
	}
	switch r := hexRune(b, i); {
	case r < 0:
		return i, faultEscape
	case isLowSurrogate(r):
		return i, faultSurrogate
	case isHighSurrogate(r):
		if !isLowSurrogate(hexRune(b, i+6)) {
			return i, faultSurrogate
		}
		return i + 12, faultNone
	default:
		return i + 6, faultNone
	}
}

// hexRune is the value of an escape of the form \u0000 at i, or -1.
func hexRune(b []byte, i int) rune {
	if i+6 > len(b) || b[i] != '\\' || b[i+1] != 'u' {
		return -1
	}
	r := rune(0)
	for _, c := range b[i+2 : i+6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

func isHighSurrogate(r rune) bool { return r >= 0xd800 && r < 0xdc00 }
func isLowSurrogate(r rune) bool  { return r >= 0xdc00 && r < 0xe000 }

// unescaped has the character that a backslash and a letter stand for.
var unescaped = [256]byte{
	'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t',
}

// hasEscape reports whether the inside of a valid JSON string has escapes.
func hasEscape(s []byte) bool {
	return bytes.IndexByte(s, '\\') >= 0
}

// appendUnescaped appends the text of a JSON string. s is the inside of its quotes and was
// scanned. Text is never longer than its JSON, so dst may be s[:0]: then it is decoded in place.
func appendUnescaped(dst, s []byte) []byte {
	for {
		n := bytes.IndexByte(s, '\\')
		if n < 0 {
			return append(dst, s...)
		}
		dst = append(dst, s[:n]...)
		if s[n+1] != 'u' {
			dst = append(dst, unescaped[s[n+1]])
			s = s[n+2:]
			continue
		}
		r := hexRune(s, n)
		s = s[n+6:]
		if isHighSurrogate(r) {
			r = (r-0xd800)<<10 + hexRune(s, 0) - 0xdc00 + 0x10000
			s = s[6:]
		}
		dst = utf8.AppendRune(dst, r)
	}
}

// AppendString appends s as a JSON string. Only what JSON requires is escaped: neither HTML nor
// anything beyond ASCII. Bytes that are not UTF-8 become U+FFFD.
func AppendString[S string | []byte](dst []byte, s S) []byte {
	dst = append(dst, '"')
	start := len(dst)
	dst = append(dst, s...)
	if same := verbatimEnd(dst, start); same < len(dst) {
		dst = appendEscaped(dst[:same], []byte(s[same-start:]))
	}
	return append(dst, '"')
}

// appendEscaped appends the inside of a JSON string.
func appendEscaped(dst, s []byte) []byte {
	const hex = "0123456789abcdef"
	for len(s) > 0 {
		n := verbatimEnd(s, 0)
		dst = append(dst, s[:n]...)
		if s = s[n:]; len(s) == 0 {
			break
		}
		switch c := s[0]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c >= utf8.RuneSelf:
			dst = utf8.AppendRune(dst, utf8.RuneError)
		case escapes[c] != 0:
			dst = append(dst, '\\', escapes[c])
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
		}
		s = s[1:]
	}
	return dst
}

// escapes has the letter of control characters that have one.
var escapes = [' ']byte{'\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't'}
