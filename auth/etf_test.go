package auth

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Terms in bytes, as erl's term_to_binary writes them, and what they become.
func TestDecodeTerm(t *testing.T) {
	n := func(s string) json.Number { return json.Number(s) }
	for name, c := range map[string]struct {
		bytes string
		want  any
	}{
		"0":                     {"83 61 00", n("0")},
		"255":                   {"83 61 ff", n("255")},
		"256":                   {"83 62 00000100", n("256")},
		"-1":                    {"83 62 ffffffff", n("-1")},
		"2^31-1":                {"83 62 7fffffff", n("2147483647")},
		"1700000000000":         {"83 6e 06 00 0068e5cf8b01", n("1700000000000")},
		"-2^63-1":               {"83 6e 08 01 0100000000000080", n("-9223372036854775809")},
		"large big":             {"83 6f 00000002 00 0001", n("256")},
		"1.5":                   {"83 46 3ff8000000000000", n("1.5")},
		":ok":                   {"83 77 02 6f6b", "ok"},
		":ok, atom ext":         {"83 64 0002 6f6b", "ok"},
		":é, Latin-1":           {"83 73 01 e9", "é"},
		":é, UTF-8":             {"83 76 0002 c3a9", "é"},
		"nil":                   {"83 77 03 6e696c", nil},
		"true":                  {"83 77 04 74727565", true},
		"false":                 {"83 64 0005 66616c7365", false},
		`"user:1"`:              {"83 6d 00000006 757365723a31", "user:1"},
		`""`:                    {"83 6d 00000000", ""},
		"[]":                    {"83 6a", []any{}},
		"[1,2,3]":               {"83 6b 0003 010203", []any{n("1"), n("2"), n("3")}},
		`["a",[]]`:              {"83 6c 00000002 6d 00000001 61 6a 6a", []any{"a", []any{}}},
		"{}":                    {"83 68 00", []any{}},
		"{1,2}":                 {"83 68 02 6101 6102", []any{n("1"), n("2")}},
		"large tuple":           {"83 69 00000001 6101", []any{n("1")}},
		"%{user_id: 1}":         {"83 74 00000001 77 07 757365725f6964 6101", map[string]any{"user_id": n("1")}},
		`%{"a" => %{1 => nil}}`: {"83 74 00000001 6d 00000001 61 74 00000001 6101 77 03 6e696c", map[string]any{"a": map[string]any{"1": nil}}},
	} {
		got, err := decodeTerm(unhex(t, c.bytes))
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %#v, %v; want %#v", name, got, err, c.want)
		}
	}
}

// compressed is what term_to_binary(Term, [compressed]) makes of a term.
func compressed(t testing.TB, size int, term []byte) []byte {
	t.Helper()
	var z bytes.Buffer
	z.Write(binary.BigEndian.AppendUint32([]byte{etfVersion, etfCompressed}, uint32(size)))
	w := zlib.NewWriter(&z)
	w.Write(term)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return z.Bytes()
}

func TestDecodeTermCompressed(t *testing.T) {
	term, err := appendTerm(nil, strings.Repeat("a", 60_000))
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeTerm(compressed(t, len(term), term))
	if err != nil || got != strings.Repeat("a", 60_000) {
		t.Errorf("%v", err)
	}
	bomb := make([]byte, 10<<20)
	for name, data := range map[string][]byte{
		"a bomb that says its size":     compressed(t, len(bomb), bomb),
		"a bomb that says another size": compressed(t, 1000, bomb),
		"less than it says":             compressed(t, len(term)+1, term),
		"more than it says":             compressed(t, len(term)-1, term),
		"compressed twice":              compressed(t, len(term), compressed(t, len(term), term)[1:]),
		"no zlib":                       {etfVersion, etfCompressed, 0, 0, 0, 1, 1, 2, 3},
		"no size":                       {etfVersion, etfCompressed, 0, 0},
	} {
		if v, err := decodeTerm(data); err == nil {
			t.Errorf("%s: %T", name, v)
		}
	}
}

func TestDecodeTermRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		bytes string
		want  error
	}{
		"nothing":                        {"", errTermTag},
		"no version":                     {"61 01", errTermTag},
		"another version":                {"82 61 01", errTermTag},
		"no term":                        {"83", errTermShort},
		"a term and a half":              {"83 61 01 61", errTermLong},
		"a pid":                          {"83 58 7701 61 00000000 00000000 00000000", errTermTag},
		"a reference":                    {"83 5a 0001 7701 61 00000000 00000000", errTermTag},
		"a function":                     {"83 70 00000000", errTermTag},
		"an export":                      {"83 71 7702 6f73 7703 636d64 6101", errTermTag},
		"an old float":                   {"83 63" + strings.Repeat("30", 31), errTermTag},
		"a bit string":                   {"83 4d 00000001 05 a8", errTermTag},
		"a function in a map":            {"83 74 00000001 7701 61 70 00000000", errTermTag},
		"a binary of 4 GiB":              {"83 6d ffffffff 61", errTermShort},
		"a list of 4 billion":            {"83 6c ffffffff", errTermBounds},
		"a tuple of 4 billion":           {"83 69 ffffffff", errTermBounds},
		"a map of 4 billion":             {"83 74 ffffffff", errTermBounds},
		"an integer of 4 GiB":            {"83 6f ffffffff 00", errTermBounds},
		"an integer of 255 bytes":        {"83 6e ff 00" + strings.Repeat("ff", 255), errTermBounds},
		"an improper list":               {"83 6c 00000001 6101 6102", errTermNotProper},
		"NaN":                            {"83 46 7ff8000000000001", errTermFloat},
		"a binary that is no text":       {"83 6d 00000001 ff", errTermText},
		"a key that is a list":           {"83 74 00000001 6a 6101", errTermKey},
		"a key that is nil":              {"83 74 00000001 7703 6e696c 6101", errTermKey},
		"a key twice":                    {"83 74 00000002 7701 61 6101 7701 61 6102", errTermKey},
		"a key twice, as text and atom":  {"83 74 00000002 7701 61 6101 6d 00000001 61 6102", errTermKey},
		"100 lists in one another":       {"83" + strings.Repeat("6c00000001", 100), errTermBounds},
		"too many texts in many lists":   {"83 68 ff" + strings.Repeat("6b ffff"+strings.Repeat("00", 0xffff), 2), errTermBounds},
		"an atom of more than 255":       {"83 76 0100" + strings.Repeat("61", 256), errTermBounds},
		"an atom that ends too soon":     {"83 77 05 6f6b", errTermShort},
		"a big integer without its sign": {"83 6e 01", errTermShort},
	} {
		if v, err := decodeTerm(unhex(t, c.bytes)); !errors.Is(err, c.want) {
			t.Errorf("%s: %#v, %v; want %v", name, v, err, c.want)
		}
	}
}

// What is encoded is decoded to the same, and is what Erlang would write.
func TestAppendTerm(t *testing.T) {
	for _, c := range []struct {
		term any
		want string
	}{
		{nil, "77 03 6e696c"}, {true, "77 04 74727565"}, {255, "61 ff"}, {-1, "62 ffffffff"}, {int64(1) << 31, "6e 04 00 00000080"},
		{json.Number("-9223372036854775809"), "6e 08 01 0100000000000080"}, {1.5, "46 3ff8000000000000"}, {json.Number("1.5"), "46 3ff8000000000000"},
		{"a", "6d 00000001 61"}, {[]any{}, "6a"}, {[]any{1, 2, 3}, "6b 0003 010203"}, {[]any{1, 256}, "6c 00000002 6101 62 00000100 6a"},
		{map[string]any{"b": 1, "a": nil}, "74 00000002 6d 00000001 61 77 03 6e696c 6d 00000001 62 6101"},
		{map[atom]any{"user_id": 1}, "74 00000001 77 07 757365725f6964 6101"},
	} {
		got, err := appendTerm(nil, c.term)
		if err != nil || !bytes.Equal(got, unhex(t, c.want)) {
			t.Errorf("%#v: %x, %v; want %s", c.term, got, err, c.want)
		}
		if _, err := decodeTerm(append([]byte{etfVersion}, got...)); err != nil {
			t.Errorf("%#v: %v", c.term, err)
		}
	}
	for _, v := range []any{struct{}{}, []int{1}, json.Number("1e999"), json.Number("1" + strings.Repeat("0", 1000))} {
		if b, err := appendTerm(nil, v); err == nil {
			t.Errorf("%v: %x", v, b)
		}
	}
}

// No bytes panic, and what is decoded encodes to what decodes to the same.
func FuzzDecodeTerm(f *testing.F) {
	for _, s := range []string{
		"83 6b 0003 010203", "83 74 00000001 77 07 757365725f6964 6101", "83 68 03 6163 6e 06 00 0068e5cf8b01 62 00015180",
		"83 6c 00000002 6d 00000001 61 6a 6a", "83 46 3ff8000000000000", "83 6f 00000002 00 0001", "83 50 00000002",
	} {
		f.Add(unhex(f, s))
	}
	f.Add(compressed(f, 2, []byte{etfSmallInteger, 1}))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := decodeTerm(data)
		if err != nil {
			return
		}
		again, err := appendTerm([]byte{etfVersion}, v)
		if err != nil {
			t.Fatalf("%#v: %v", v, err)
		}
		w, err := decodeTerm(again)
		if err != nil || !sameTerm(v, w) {
			t.Fatalf("%#v: again %#v, %v", v, w, err)
		}
	})
}

// sameTerm is equality; a float may be written as an integer.
func sameTerm(a, b any) bool {
	x, ok := a.(json.Number)
	y, ok2 := b.(json.Number)
	if ok && ok2 && x != y {
		f, err1 := x.Float64()
		g, err2 := y.Float64()
		return err1 == nil && err2 == nil && math.Abs(f-g) <= math.Abs(f)*1e-15
	}
	switch a := a.(type) {
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !sameTerm(a[i], b[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for k := range a {
			if v, ok := b[k]; !ok || !sameTerm(a[k], v) {
				return false
			}
		}
		return true
	}
	return a == b
}
