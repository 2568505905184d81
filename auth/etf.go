package auth

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"math"
	"math/big"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Tags of Erlang's external term format that may be in a token. All others are
// refused: functions, pids and references do not belong in a token.
const (
	etfVersion       = 131
	etfCompressed    = 80
	etfNewFloat      = 70
	etfSmallInteger  = 97
	etfInteger       = 98
	etfAtom          = 100
	etfSmallTuple    = 104
	etfLargeTuple    = 105
	etfNil           = 106
	etfString        = 107
	etfList          = 108
	etfBinary        = 109
	etfSmallBig      = 110
	etfLargeBig      = 111
	etfSmallAtom     = 115
	etfMap           = 116
	etfAtomUTF8      = 118
	etfSmallAtomUTF8 = 119
)

// Bounds of a term. Options.MaxBytes bounds the token; these bounds stop a term
// that grows when it is decoded.
const (
	etfMaxInflated = 64 << 10 // bytes of a compressed term
	etfMaxDepth    = 32
	etfMaxElements = 8192 // values in a term, at all depths
	etfMaxBig      = 128  // bytes of an integer
	etfMaxAtom     = 255  // characters; Erlang's own bound
)

var (
	errTermTag       = errors.New("a term of a kind that is not accepted")
	errTermShort     = errors.New("a term that ends too soon")
	errTermLong      = errors.New("bytes after the term")
	errTermBounds    = errors.New("a term that is too large or too deep")
	errTermText      = errors.New("a text that is not UTF-8")
	errTermKey       = errors.New("a map with a key that is not text, or that occurs twice")
	errTermNotProper = errors.New("an improper list")
	errTermFloat     = errors.New("a float that is not a number")
)

// decodeTerm decodes one term. Binaries and atoms become strings, except that
// the atoms nil, true and false become those values; tuples and lists become
// []any, integers and floats json.Number, maps map[string]any.
func decodeTerm(data []byte) (any, error) {
	if len(data) == 0 || data[0] != etfVersion {
		return nil, errTermTag
	}
	data = data[1:]
	if len(data) > 0 && data[0] == etfCompressed {
		var err error
		if data, err = inflateTerm(data[1:]); err != nil {
			return nil, err
		}
	}
	d := termDecoder{data: data, left: etfMaxElements}
	v, err := d.term(etfMaxDepth)
	if err != nil {
		return nil, err
	}
	if len(d.data) > 0 {
		return nil, errTermLong
	}
	return v, nil
}

// inflateTerm reads a size and the compressed data that inflates to it.
func inflateTerm(data []byte) ([]byte, error) {
	if len(data) < 4 {
		return nil, errTermShort
	}
	size := binary.BigEndian.Uint32(data)
	if size > etfMaxInflated {
		return nil, errTermBounds
	}
	z, err := zlib.NewReader(bytes.NewReader(data[4:]))
	if err != nil {
		return nil, errTermShort
	}
	inflated, err := io.ReadAll(io.LimitReader(z, int64(size)+1))
	if err != nil || len(inflated) != int(size) {
		return nil, errTermShort
	}
	return inflated, nil
}

// termDecoder reads terms from the front of data.
type termDecoder struct {
	data []byte
	left int // values that may still come
}

// term reads the next term, which may be nested depth deep.
func (d *termDecoder) term(depth int) (any, error) {
	if d.left--; d.left < 0 || depth == 0 {
		return nil, errTermBounds
	}
	tag, err := d.uint(1)
	if err != nil {
		return nil, err
	}
	switch tag {
	case etfSmallInteger:
		return d.integer(1)
	case etfInteger:
		return d.integer(4)
	case etfSmallBig:
		return d.big(1)
	case etfLargeBig:
		return d.big(4)
	case etfNewFloat:
		return d.float()
	case etfSmallAtom, etfSmallAtomUTF8:
		return d.atom(1, tag == etfSmallAtom)
	case etfAtom, etfAtomUTF8:
		return d.atom(2, tag == etfAtom)
	case etfBinary:
		return d.text()
	case etfString:
		return d.charlist()
	case etfNil:
		return []any{}, nil
	case etfList:
		return d.list(depth)
	case etfSmallTuple:
		return d.elements(1, depth)
	case etfLargeTuple:
		return d.elements(4, depth)
	case etfMap:
		return d.pairs(depth)
	}
	return nil, errTermTag
}

// readBytes reads n bytes.
func (d *termDecoder) readBytes(n uint32) ([]byte, error) {
	if uint64(n) > uint64(len(d.data)) {
		return nil, errTermShort
	}
	taken := d.data[:n]
	d.data = d.data[n:]
	return taken, nil
}

// uint reads an unsigned number of 1, 2 or 4 bytes.
func (d *termDecoder) uint(size uint32) (n uint32, err error) {
	b, err := d.readBytes(size)
	for _, c := range b {
		n = n<<8 | uint32(c)
	}
	return n, err
}

// integer reads an integer: unsigned with 1 byte, signed with 4.
func (d *termDecoder) integer(size uint32) (any, error) {
	n, err := d.uint(size)
	v := int64(n)
	if size == 4 {
		v = int64(int32(n))
	}
	return json.Number(strconv.FormatInt(v, 10)), err
}

// big reads an integer of any size, in little-endian order.
func (d *termDecoder) big(size uint32) (any, error) {
	n, err := d.uint(size)
	if err != nil {
		return nil, err
	}
	if n > etfMaxBig {
		return nil, errTermBounds
	}
	sign, err := d.uint(1)
	if err != nil {
		return nil, err
	}
	b, err := d.readBytes(n)
	if err != nil {
		return nil, err
	}
	b = slices.Clone(b)
	slices.Reverse(b)
	v := new(big.Int).SetBytes(b)
	if sign != 0 {
		v.Neg(v)
	}
	return json.Number(v.String()), nil
}

func (d *termDecoder) float() (any, error) {
	b, err := d.readBytes(8)
	if err != nil {
		return nil, err
	}
	f := math.Float64frombits(binary.BigEndian.Uint64(b))
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, errTermFloat
	}
	return json.Number(strconv.FormatFloat(f, 'g', -1, 64)), nil
}

// atom reads an atom; older ones are in Latin-1.
func (d *termDecoder) atom(size uint32, latin1 bool) (any, error) {
	n, err := d.uint(size)
	if err != nil {
		return nil, err
	}
	b, err := d.readBytes(n)
	if err != nil {
		return nil, err
	}
	name := string(b)
	if latin1 {
		runes := make([]rune, len(b))
		for i, c := range b {
			runes[i] = rune(c)
		}
		name = string(runes)
	}
	switch {
	case !utf8.ValidString(name):
		return nil, errTermText
	case utf8.RuneCountInString(name) > etfMaxAtom:
		return nil, errTermBounds
	case name == "nil":
		return nil, nil
	case name == "true", name == "false":
		return name == "true", nil
	}
	return name, nil
}

func (d *termDecoder) text() (any, error) {
	n, err := d.uint(4)
	if err != nil {
		return nil, err
	}
	b, err := d.readBytes(n)
	if err != nil {
		return nil, err
	}
	if !utf8.Valid(b) {
		return nil, errTermText
	}
	return string(b), nil
}

// charlist reads a list of integers below 256, one byte each.
func (d *termDecoder) charlist() (any, error) {
	n, err := d.uint(2)
	if err != nil {
		return nil, err
	}
	b, err := d.readBytes(n)
	if err != nil {
		return nil, err
	}
	if d.left -= len(b); d.left < 0 {
		return nil, errTermBounds
	}
	list := make([]any, len(b))
	for i, c := range b {
		list[i] = json.Number(strconv.Itoa(int(c)))
	}
	return list, nil
}

// elements reads a count of size bytes and that many terms.
func (d *termDecoder) elements(size uint32, depth int) (any, error) {
	n, err := d.uint(size)
	if err != nil {
		return nil, err
	}
	if uint64(n) > uint64(d.left) {
		return nil, errTermBounds
	}
	list := []any{} // not allocated for n: the input may be shorter
	for range n {
		v, err := d.term(depth - 1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

// list reads elements and a tail, which is empty in a proper list.
func (d *termDecoder) list(depth int) (any, error) {
	v, err := d.elements(4, depth)
	if err != nil {
		return nil, err
	}
	tail, err := d.uint(1)
	if err == nil && tail != etfNil {
		err = errTermNotProper
	}
	return v, err
}

func (d *termDecoder) pairs(depth int) (any, error) {
	n, err := d.uint(4)
	if err != nil {
		return nil, err
	}
	if uint64(n) > uint64(d.left) {
		return nil, errTermBounds
	}
	m := make(map[string]any)
	for range n {
		k, err := d.term(depth - 1)
		if err != nil {
			return nil, err
		}
		v, err := d.term(depth - 1)
		if err != nil {
			return nil, err
		}
		var name string
		switch k := k.(type) {
		case string:
			name = k
		case json.Number:
			name = k.String()
		default:
			return nil, errTermKey
		}
		if _, twice := m[name]; twice {
			return nil, errTermKey
		}
		m[name] = v
	}
	return m, nil
}
