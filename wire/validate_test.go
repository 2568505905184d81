package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	valid := map[string]string{ // and how it is compacted; "" if it is compact
		"null": "", "true": "", "false": "", "0": "", "-0": "", "-0.0": "", "1E3": "", "1e-400": "", "1.5e+7": "", `""`: "", "{}": "", "[]": "",
		"1.7976931348623157e308": "", "0e400": "", "0.00e999999999999999999999": "", "0.0001e311": "",
		strings.Repeat("9", 400):                     "", // an integer may be of any length
		strings.Repeat("1", 400) + "e-200":           "",
		`{"a":[1,{"b":null},[[]]],"c":"d"}`:          "",
		`"\u0000\"\\\/\b\f\n\r\t\ud83d\udca7\uFFFF"`: "",
		`"` + "\x7f é 日本 💧 \u2028" + `"`:             "",
		" [ 1 ,\t2 ] \r\n":                           "[1,2]",
		`{ "a b" : " c " , "d":[ ] }`:                `{"a b":" c ","d":[]}`,
		"  7":                                        "7",
		"7  ":                                        "7",
		"[[1 ],[ 2],[3]]":                            "[[1],[2],[3]]",
	}
	for input, want := range valid {
		if want == "" {
			want = input
		}
		got, err := Validate([]byte(input))
		if err != nil || string(got) != want {
			t.Errorf("Validate(%q): %q, %v; want %q", input, got, err, want)
		}
	}
}

func TestValidateRefuses(t *testing.T) {
	tests := map[string]fault{
		"": faultEnd, " ": faultEnd, "[": faultEnd, "{": faultEnd, `{"a"`: faultEnd, `{"a":`: faultEnd, `{"a":1`: faultEnd, `{"a":1,`: faultEnd,
		`"`: faultEnd, `"a`: faultEnd, `"\`: faultEnd, "[1": faultEnd, "[1,": faultEnd,
		"1 2": faultTrailing, "{}x": faultTrailing, "[]]": faultTrailing, "nullx": faultTrailing, "1\x00": faultTrailing,
		"01": faultNumber, "-": faultNumber, "-01": faultNumber, "1.": faultNumber, "1.e5": faultNumber, "1e": faultNumber, "1e+": faultNumber, "-x": faultNumber,
		".5": faultUnexpected, "+1": faultUnexpected, "x": faultUnexpected, "]": faultUnexpected, "[,1]": faultUnexpected, "[1,]": faultUnexpected,
		"NaN": faultUnexpected, "'a'": faultUnexpected, "\x00": faultUnexpected, "\xef\xbb\xbf1": faultUnexpected, "\v1": faultUnexpected, "\u00a01": faultUnexpected,
		"tru": faultLiteral, "nulL": faultLiteral, "[fals]": faultLiteral,
		"1e400": faultRange, "-1e400": faultRange, "1e309": faultRange, "1.7976931348623159e308": faultRange, "0.1e310": faultRange,
		"1e99999999999999999999": faultRange, strings.Repeat("1", 400) + ".0": faultRange,
		"\"\x01\"": faultControl, "\"a\n\"": faultControl, "\"\x1f1234567\"": faultControl,
		`"\x"`: faultEscape, `"\u"`: faultEscape, `"\u12g4"`: faultEscape, `"\U0041"`: faultEscape, `"\u004`: faultEscape, "\"\\\n\"": faultEscape,
		`"\ud800"`: faultSurrogate, `"\udc00"`: faultSurrogate, `"\ud800\ud800"`: faultSurrogate, `"\ud800x"`: faultSurrogate, `"\ud800\n"`: faultSurrogate,
		"\"\xff\"": faultUTF8, "\"\xc3\"": faultUTF8, "\"\xc0\x80\"": faultUTF8, "\"\xed\xa0\x80\"": faultUTF8, "\"\xf4\x90\x80\x80\"": faultUTF8, "\"é\x80\"": faultUTF8,
		"{1:2}": faultKey, "{,}": faultKey, `{"a":1,}`: faultKey, "{null:1}": faultKey,
		`{"a" 1}`: faultColon, `{"a"}`: faultColon,
		"[1 2]": faultComma, `{"a":1 "b":2}`: faultComma, "[1}": faultComma, `{"a":1]`: faultComma, "[1:2]": faultComma,
	}
	for input, want := range tests {
		_, err := Validate([]byte(input))
		var decodeError *DecodeError
		if !errors.As(err, &decodeError) || decodeError.Reason != faultReasons[want] {
			t.Errorf("Validate(%q): %v, want: %s", input, err, faultReasons[want])
		}
	}
}

// TestValidatePlainBytes puts each byte at each place of a word: the search for the end of plain text
// looks at eight bytes at once.
func TestValidatePlainBytes(t *testing.T) {
	for at := range 20 {
		for c := range 256 {
			input := []byte(`"` + strings.Repeat("a", 20) + `"`)
			input[1+at] = byte(c)
			wantValid := c >= ' ' && c < 0x80 && c != '"' && c != '\\' // the a after a backslash makes no escape
			if _, err := Validate(input); (err == nil) != wantValid {
				t.Fatalf("byte %#x at %d: %v", c, at, err)
			}
		}
	}
}

func TestValidateDepth(t *testing.T) {
	nested := func(depth int, open, inside, end string) string {
		return strings.Repeat(open, depth) + inside + strings.Repeat(end, depth)
	}
	for _, depth := range []int{1, 63, 64, 65, 127, 128, 129, 1000, maxDepth - 1, maxDepth} {
		for _, input := range []string{
			nested(depth, "[", "", "]"),
			nested(depth, "[", "1", "]"),
			nested(depth-1, `{"a":`, "{}", "}"),
			nested(depth, `{"a":`, "1", "}"),
			nested(depth/2, `[0,{"a":`, "1", "},0]"),
			nested(depth/2, `[{"a":`, "1", `,"c":""}]`),
		} {
			if got, err := Validate([]byte(input)); err != nil || string(got) != input {
				t.Fatalf("depth %d, %.40s…: %v", depth, input, err)
			}
		}
		if _, err := Validate([]byte(nested(depth, "[", "", "]")[1:])); err == nil {
			t.Fatalf("depth %d: one end too many is valid", depth)
		}
		if _, err := Validate([]byte(strings.Repeat("[", depth) + strings.Repeat("]", depth-1) + "}")); err == nil {
			t.Fatalf("depth %d: a wrong outermost end is valid", depth)
		}
	}
	for _, input := range []string{nested(maxDepth+1, "[", "", "]"), nested(maxDepth+1, `{"a":`, "1", "}"), strings.Repeat("[", 1<<20)} {
		if _, err := Validate([]byte(input)); err == nil || !strings.Contains(err.Error(), faultReasons[faultDepth]) {
			t.Errorf("%.40s…: %v, want it too deep", input, err)
		}
	}
}

func TestIsObject(t *testing.T) {
	for input, want := range map[string]bool{`{}`: true, `{"a":1}`: true, "": false, "[]": false, `"{"`: false, "null": false} {
		if got := IsObject([]byte(input)); got != want {
			t.Errorf("IsObject(%s) = %t", input, got)
		}
	}
}

// TestAppendString: what is written is read back by another decoder and by ours.
func TestAppendString(t *testing.T) {
	tests := map[string]string{
		"":                           `""`,
		"plain text of some length":  `"plain text of some length"`,
		"héllo 日本 💧":                 `"héllo 日本 💧"`,
		"<a href='x'>&amp;</a>":      `"<a href='x'>&amp;</a>"`,
		"\x00\x01\x1f\x7f\b\f\n\r\t": `"\u0000\u0001\u001f` + "\x7f" + `\b\f\n\r\t"`,
		`"\/`:                        `"\"\\/"`,
		"\u2028\u2029":               "\"\u2028\u2029\"",
		"é\n":                        `"é\n"`,
		"a\xffb\xc3":                 "\"a\ufffdb\ufffd\"",
		"\xed\xa0\x80":               "\"\ufffd\ufffd\ufffd\"",
	}
	for s, want := range tests {
		if got := string(AppendString(nil, s)); got != want {
			t.Errorf("AppendString(%q) = %s, want %s", s, got, want)
		}
		if got := string(AppendString(nil, []byte(s))); got != want {
			t.Errorf("AppendString of bytes(%q) = %s, want %s", s, got, want)
		}
		var back string
		if err := json.Unmarshal(AppendString(nil, s), &back); err != nil || back != strings.ToValidUTF8(s, "\ufffd") && !strings.Contains(want, "\ufffd") {
			t.Errorf("encoding/json reads %q, %v for %q", back, err, s)
		}
		if _, err := Validate([]byte(want)); err != nil {
			t.Errorf("Validate(%s): %v", want, err)
		}
	}
}

// TestUnescapeInPlace: text is never longer than its JSON.
func TestUnescapeInPlace(t *testing.T) {
	for _, s := range []string{`a\u0000b`, `\ud83d\udca7\ud83d\udca7x`, `\n\n\u00e9\/é\\`, `\uffff`} {
		var want string
		if err := json.Unmarshal([]byte(`"`+s+`"`), &want); err != nil {
			t.Fatal(err)
		}
		b := []byte(s)
		if got := appendUnescaped(b[:0], b); string(got) != want || &got[0] != &b[0] {
			t.Errorf("%s in place is %q, want %q", s, got, want)
		}
		if got := appendUnescaped(nil, bytes.Clone([]byte(s))); string(got) != want {
			t.Errorf("%s is %q, want %q", s, got, want)
		}
	}
}
