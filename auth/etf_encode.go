package auth

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
)

// atom is a string that is encoded as an atom.
type atom string

// appendTerm encodes values of encoding/json (numbers as json.Number or
// float64), integers and atoms like term_to_binary, without the version byte.
func appendTerm(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return appendAtom(b, "nil"), nil
	case bool:
		return appendAtom(b, atom(fmt.Sprint(v))), nil
	case atom:
		return appendAtom(b, v), nil
	case string:
		b = binary.BigEndian.AppendUint32(append(b, etfBinary), uint32(len(v)))
		return append(b, v...), nil
	case int:
		return appendInteger(b, big.NewInt(int64(v)))
	case int64:
		return appendInteger(b, big.NewInt(v))
	case float64:
		return appendFloat(b, v), nil
	case json.Number:
		return appendNumber(b, v)
	case []any:
		return appendList(b, v)
	case map[string]any:
		return appendMap(b, v)
	case map[atom]any:
		return appendMap(b, v)
	}
	return nil, fmt.Errorf("auth: a %T cannot be in a token", v)
}

func appendAtom(b []byte, a atom) []byte {
	return append(append(b, etfSmallAtomUTF8, byte(len(a))), a...)
}

func appendInteger(b []byte, n *big.Int) ([]byte, error) {
	switch {
	case n.IsInt64() && n.Int64() >= 0 && n.Int64() < 256:
		return append(b, etfSmallInteger, byte(n.Int64())), nil
	case n.IsInt64() && n.Int64() == int64(int32(n.Int64())):
		return binary.BigEndian.AppendUint32(append(b, etfInteger), uint32(n.Int64())), nil
	}
	digits := n.Bytes()
	if len(digits) > etfMaxBig {
		return nil, fmt.Errorf("auth: an integer of %d bytes, more than %d", len(digits), etfMaxBig)
	}
	slices.Reverse(digits)
	sign := byte(0)
	if n.Sign() < 0 {
		sign = 1
	}
	return append(append(b, etfSmallBig, byte(len(digits)), sign), digits...), nil
}

func appendFloat(b []byte, f float64) []byte {
	return binary.BigEndian.AppendUint64(append(b, etfNewFloat), math.Float64bits(f))
}

func appendNumber(b []byte, s json.Number) ([]byte, error) {
	if n, ok := new(big.Int).SetString(s.String(), 10); ok {
		return appendInteger(b, n)
	}
	f, err := s.Float64()
	if err != nil {
		return nil, fmt.Errorf("auth: number %s: %w", s, err)
	}
	return appendFloat(b, f), nil
}

// appendList writes small integers as bytes, as Erlang does.
func appendList(b []byte, list []any) (_ []byte, err error) {
	if len(list) == 0 {
		return append(b, etfNil), nil
	}
	if small, ok := smallIntegers(list); ok && len(small) <= math.MaxUint16 {
		b = binary.BigEndian.AppendUint16(append(b, etfString), uint16(len(small)))
		return append(b, small...), nil
	}
	b = binary.BigEndian.AppendUint32(append(b, etfList), uint32(len(list)))
	for _, v := range list {
		if b, err = appendTerm(b, v); err != nil {
			return nil, err
		}
	}
	return append(b, etfNil), nil
}

func smallIntegers(list []any) (small []byte, ok bool) {
	for _, v := range list {
		b, err := appendTerm(nil, v)
		if err != nil || len(b) != 2 || b[0] != etfSmallInteger {
			return nil, false
		}
		small = append(small, b[1])
	}
	return small, true
}

func appendMap[K atom | string](b []byte, m map[K]any) (_ []byte, err error) {
	b = binary.BigEndian.AppendUint32(append(b, etfMap), uint32(len(m)))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if b, err = appendTerm(b, k); err != nil {
			return nil, err
		}
		if b, err = appendTerm(b, m[k]); err != nil {
			return nil, err
		}
	}
	return b, nil
}
