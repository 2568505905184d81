package strictjson_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/fielderr"
	"github.com/mycelium-rt/mycelium/internal/strictjson"
	"github.com/mycelium-rt/mycelium/units"
)

type inner struct {
	N int `json:"n"`
}

type outer struct {
	Name   string            `json:"name"`
	On     bool              `json:"on,omitempty"`
	Off    *bool             `json:"off,omitempty"`
	Inner  inner             `json:"inner"`
	To     *inner            `json:"to"`
	List   []inner           `json:"list"`
	Names  []string          `json:"names"`
	Labels map[string]string `json:"labels"`
	Raw    json.RawMessage   `json:"raw"`
	TTL    units.Duration    `json:"ttl"`
}

func TestDecode(t *testing.T) {
	var got outer
	err := strictjson.Decode([]byte(` {"name":"a","on":true,"inner":{"n":1},"to":{"n":2},"list":[{"n":3},{"n":4}],"names":["x"],
		"labels":{"L":"1","l":"2"},"raw":{"N":1,"n":2},"ttl":"90s"} `), &got)
	if err != nil {
		t.Fatal(err)
	}
	want := outer{
		Name: "a", On: true, Inner: inner{1}, To: &inner{2}, List: []inner{{3}, {4}}, Names: []string{"x"},
		Labels: map[string]string{"L": "1", "l": "2"}, Raw: json.RawMessage(`{"N":1,"n":2}`), TTL: 90e9,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	nulls := outer{}
	if err := strictjson.Decode([]byte(`{"name":null,"inner":null,"to":null,"list":null,"labels":null,"ttl":null}`), &nulls); err != nil || !reflect.DeepEqual(nulls, outer{}) {
		t.Errorf("nulls: %+v, %v", nulls, err)
	}
}

func TestErrors(t *testing.T) {
	deep := `{"raw":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}`
	for _, test := range []struct {
		text, field, reason string
		malformed           bool
	}{
		{text: ``, reason: "must be a JSON object", malformed: true},
		{text: `[]`, reason: "must be a JSON object", malformed: true},
		{text: `{"name":"a"`, reason: "is not valid JSON: unexpected end at byte 11", malformed: true},
		{text: `{"name":"a"} {}`, reason: "is not valid JSON: something after the end of the JSON value at byte 13", malformed: true},
		{text: "{\"raw\":\"\xff\"}", reason: "is not valid JSON: bad UTF-8 at byte 8", malformed: true},
		{text: `{"raw":"\ud800"}`, reason: "is not valid JSON: lone surrogate in a string at byte 8", malformed: true},
		{text: `{"raw":1e999}`, reason: "is not valid JSON: number beyond 64 bit floats at byte 7", malformed: true},
		{text: deep, reason: "is not valid JSON: JSON nested too deep at byte 4102", malformed: true},
		{text: `{"nam":"a"}`, field: "/nam", reason: `is not a known field; did you mean "name"?`},
		{text: `{"Name":"a"}`, field: "/Name", reason: `is not a known field; did you mean "name"?`},
		{text: `{"a/b~":1}`, field: "/a~1b~0", reason: "is not a known field; the known fields are inner, labels, list, name, names, off, on, raw, to, ttl"},
		{text: `{"name":"a","on":true,"name":"b"}`, field: "/name", reason: "occurs twice"},
		{text: `{"inner":{"n":1,"n":2}}`, field: "/inner/n", reason: "occurs twice"},
		{text: `{"inner":{"N":1}}`, field: "/inner/N", reason: `is not a known field; did you mean "n"?`},
		{text: `{"to":{"N":1}}`, field: "/to/N", reason: `is not a known field; did you mean "n"?`},
		{text: `{"list":[{"n":1},{"N":1}]}`, field: "/list/1/N", reason: `is not a known field; did you mean "n"?`},
		{text: `{"inner":7}`, field: "/inner", reason: "must be an object"},
		{text: `{"list":{}}`, field: "/list", reason: "must be a list"},
		{text: `{"inner":{"n":"1"}}`, field: "/inner/n", reason: "is a JSON string: it must be a whole number of at most 64 bits"},
		{text: `{"inner":{"n":1e99}}`, field: "/inner/n", reason: "is a JSON number 1e99: it must be a whole number of at most 64 bits"},
		{text: `{"name":1}`, field: "/name", reason: "is a JSON number: it must be a text"},
		{text: `{"on":"yes"}`, field: "/on", reason: "is a JSON string: it must be true or false"},
		{text: `{"off":"yes"}`, field: "/off", reason: "is a JSON string: it must be true or false"},
		{text: `{"ttl":5}`, field: "/ttl", reason: `is a JSON number: it must be a text like "90s" or "5m"`},
		{text: `{"ttl":"5"}`, field: "/ttl", reason: `"5" is not a duration: write it like "90s" or "5m"`},
		{text: `{"names":"x"}`, field: "/names", reason: "is a JSON string: it must be a list"},
		{text: `{"labels":[]}`, field: "/labels", reason: "is a JSON array: it must be an object"},
	} {
		err := strictjson.Decode([]byte(test.text), new(outer))
		var wrong fielderr.List
		var malformed *strictjson.MalformedError
		switch {
		case errors.As(err, &malformed) && test.malformed && malformed.Reason == test.reason:
		case errors.As(err, &wrong) && !test.malformed && slices.Equal(wrong, fielderr.List{{Field: test.field, Reason: test.reason}}):
		default:
			t.Errorf("%.60s: %v\nwant field %q, reason %q, malformed: %v", test.text, err, test.field, test.reason, test.malformed)
		}
	}
}

// FuzzDecode: whatever Decode takes, encoding/json takes for the same.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"name":"a","inner":{"n":1},"list":[{"n":3}],"labels":{"a":"b"},"ttl":"1s"}`))
	f.Add([]byte(`{"to":{"n":null},"raw":[1,{"a":{}}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var mine, theirs outer
		if strictjson.Decode(text, &mine) != nil {
			return
		}
		if err := json.Unmarshal(text, &theirs); err != nil || !reflect.DeepEqual(mine, theirs) {
			t.Errorf("%q: %+v\nencoding/json: %+v, %v", text, mine, theirs, err)
		}
	})
}
