package wire

// scanner checks JSON and squeezes white space out of it in one pass, in place. Bytes are moved only from
// the first white space on; without any, scanning only reads.
//
//	b[:done]        what is compact already
//	b[done:run]     what may be overwritten
//	b[run:i]        scanned, to be moved down to done
//	b[i:]           not scanned
//
// Positions (i) are those of the frame as it came; offset translates them to where a byte will stand
// when the whole is compact.
type scanner struct {
	b         []byte
	done, run int
}

// span is where a value will stand in the compact frame. No value is at 0, so the zero span is none.
type span struct{ start, end int }

// of is the value itself, once the frame is compact. Its capacity ends with it, so that an append cannot
// overwrite its neighbour.
func (p span) of(b []byte) []byte {
	return b[p.start:p.end:p.end]
}

// offset is where the byte at i will stand in the compact frame.
func (s *scanner) offset(i int) int {
	return s.done + i - s.run
}

// peek is the first byte from i on that is not white space, and its position; 0 at the end.
func (s *scanner) peek(i int) (byte, int) {
	if i >= len(s.b) || s.b[i] <= ' ' {
		if i = s.squeeze(i); i >= len(s.b) {
			return 0, i
		}
	}
	return s.b[i], i
}

// squeeze passes over the white space at i, if there is any, and moves down what was scanned before it. Inlined it
// would only make its callers larger: most frames have no white space.
//
//go:noinline
func (s *scanner) squeeze(i int) int {
	from := i
	for i < len(s.b) && isSpace(s.b[i]) {
		i++
	}
	if i > from {
		if s.done < s.run {
			copy(s.b[s.done:], s.b[s.run:from])
		}
		s.done += from - s.run
		s.run = i
	}
	return i
}

func isSpace(c byte) bool {
	return c == ' ' || c == '\n' || c == '\t' || c == '\r'
}

// end checks that only white space follows.
func (s *scanner) end(i int) (int, fault) {
	if _, i = s.peek(i); i < len(s.b) {
		return i, faultTrailing
	}
	return i, faultNone
}

// compact moves the last bytes down and returns the compact text up to the position i.
func (s *scanner) compact(i int) []byte {
	if s.done < s.run {
		copy(s.b[s.done:], s.b[s.run:i])
	}
	return s.b[:s.offset(i)]
}

// unless is the fault for an unexpected byte at i, or that the text ends there.
func (s *scanner) unless(i int, f fault) fault {
	if i >= len(s.b) {
		return faultEnd
	}
	return f
}

// nesting is the open arrays and objects, one bit each, 1 for an object. The innermost 64 are in a word, so that
// values of usual depth need no memory; words that are full wait in outer.
type nesting struct {
	depth int
	inner uint64
	outer []uint64
}

func (n *nesting) push(object uint64) {
	if n.depth > 0 && n.depth%64 == 0 {
		n.outer = append(n.outer, n.inner)
	}
	n.inner = n.inner<<1 | object
	n.depth++
}

func (n *nesting) pop() {
	n.depth--
	n.inner >>= 1
	if n.depth > 0 && n.depth%64 == 0 {
		n.inner = n.outer[len(n.outer)-1]
		n.outer = n.outer[:len(n.outer)-1]
	}
}

// value checks one value, from its first byte at i, and returns where it ends. There is no recursion:
// depth costs a bit per level. The tests for white space are written out here and in next because peek is
// too large to be inlined: 150 µs for 100 kB of chat messages, 200 µs with it.
func (s *scanner) value(i int) (int, fault) {
	var open nesting
	b := s.b
	for {
		if i >= len(b) || b[i] <= ' ' {
			if i = s.squeeze(i); i >= len(b) {
				return i, faultEnd
			}
		}
		var f fault
		switch c := b[i]; {
		case c == '"':
			i, f = scanString(b, i)
		case c == '{' || c == '[':
			var empty bool
			if i, empty, f = s.enter(i, c, &open); f == faultNone && !empty {
				continue
			}
		case c == '-' || c-'0' < 10:
			i, f = scanNumber(b, i)
		default:
			i, f = s.literal(i, c)
		}
		if f != faultNone || open.depth == 0 {
			return i, f
		}
		if i, f = s.next(i, &open); f != faultNone || open.depth == 0 {
			return i, f
		}
	}
}

// enter opens an array or object at i, up to its first value. An empty one is closed at once.
func (s *scanner) enter(i int, c byte, open *nesting) (end int, empty bool, f fault) {
	if open.depth == maxDepth {
		return i, false, faultDepth
	}
	next, i := s.peek(i + 1)
	if next == c+2 { // ']' is '['+2, '}' is '{'+2
		return i + 1, true, faultNone
	}
	if c == '[' {
		open.push(0)
		return i, false, faultNone
	}
	open.push(1)
	i, f = s.key(i)
	return i, false, f
}

// next goes on after a value inside of an array or object: over the ends that follow, and over a comma, with
// the key after it, to the next value.
func (s *scanner) next(i int, open *nesting) (int, fault) {
	b := s.b
	for open.depth > 0 {
		if i >= len(b) || b[i] <= ' ' {
			if i = s.squeeze(i); i >= len(b) {
				return i, faultEnd
			}
		}
		c, object := b[i], open.inner&1 == 1
		switch {
		case c == ',' && !object:
			return i + 1, faultNone
		case c == ',':
			_, i = s.peek(i + 1)
			return s.key(i)
		case c == '}' && object, c == ']' && !object:
			open.pop()
			i++
		default:
			return i, faultComma
		}
	}
	return i, faultNone
}

// key checks a key at i and the colon behind it, and returns the position after the colon.
func (s *scanner) key(i int) (int, fault) {
	i, f := s.keyName(i)
	if f != faultNone {
		return i, f
	}
	if i < len(s.b) && s.b[i] == ':' {
		return i + 1, faultNone
	}
	return s.colon(i)
}

// keyName checks the string that an object needs at i.
func (s *scanner) keyName(i int) (int, fault) {
	if i >= len(s.b) || s.b[i] != '"' {
		return i, s.unless(i, faultKey)
	}
	return scanString(s.b, i)
}

// colon checks the colon behind a key.
func (s *scanner) colon(i int) (int, fault) {
	c, i := s.peek(i)
	if c != ':' {
		return i, s.unless(i, faultColon)
	}
	return i + 1, faultNone
}

// literal checks true, false or null at i; c is the byte there.
func (s *scanner) literal(i int, c byte) (int, fault) {
	var word string
	switch c {
	case 't':
		word = "true"
	case 'f':
		word = "false"
	case 'n':
		word = "null"
	default:
		return i, s.unless(i, faultUnexpected)
	}
	if len(s.b)-i < len(word) || string(s.b[i:i+len(word)]) != word {
		return i, faultLiteral
	}
	return i + len(word), faultNone
}
