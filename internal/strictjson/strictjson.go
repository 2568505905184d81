// Package strictjson decodes configurations and requests strictly.
// encoding/json accepts Labels for labels, and the last of two fields with the
// same name, so some input would be silently ignored. Here each of these is an
// error that names the field and what would be right.
package strictjson

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/mycelium-rt/mycelium/fielderr"
	"github.com/mycelium-rt/mycelium/internal/nearest"
	"github.com/mycelium-rt/mycelium/units"
	"github.com/mycelium-rt/mycelium/wire"
)

// MalformedError says why a text is not a JSON object at all. It follows the name
// of the text in a sentence: "is not valid JSON: unexpected end at byte 7".
type MalformedError struct{ Reason string }

func (e *MalformedError) Error() string { return e.Reason }

// Decode reads text, one JSON object, into the struct that into points to. The
// text must be JSON that every client can read (see [wire.Validate]). An error is
// a [*MalformedError], or a [fielderr.List] of the first field that is wrong.
func Decode(text []byte, into any) error {
	object := bytes.TrimLeft(text, " \t\r\n")
	if len(object) == 0 || object[0] != '{' {
		return &MalformedError{"must be a JSON object"}
	}
	if _, err := wire.Validate(bytes.Clone(text)); err != nil {
		return &MalformedError{"is not valid JSON: " + strings.TrimPrefix(err.Error(), "wire: ")}
	}
	return decode(object, reflect.ValueOf(into).Elem(), "").Err()
}

// decode reads valid JSON into v.
func decode(text []byte, v reflect.Value, at string) fielderr.List {
	isNull := string(text) == "null"
	switch structs := structsIn(v.Type()); {
	case !structs || isNull:
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return decode(text, v.Elem(), at)
	case v.Kind() == reflect.Struct:
		return decodeStruct(text, v, at)
	default:
		return decodeList(text, v, at)
	}
	return reasonOf(json.Unmarshal(text, v.Addr().Interface()), v.Type(), at)
}

func decodeStruct(text []byte, v reflect.Value, at string) fielderr.List {
	if text[0] != '{' {
		return fielderr.New(at, "must be an object")
	}
	fields := fieldsOf(v.Type())
	seen := make(map[string]bool, len(fields))
	d := json.NewDecoder(bytes.NewReader(text))
	next(d) // the brace
	for d.More() {
		name := next(d).(string)
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			panic(err) // it is valid
		}
		here := at + "/" + fielderr.Escape(name)
		index, known := fields[name]
		switch {
		case !known:
			return fielderr.New(here, "%s", nearest.UnknownField(name, slices.Collect(maps.Keys(fields))))
		case seen[name]:
			return fielderr.New(here, "occurs twice")
		}
		seen[name] = true
		if wrong := decode(value, v.Field(index), here); wrong != nil {
			return wrong
		}
	}
	return nil
}

func decodeList(text []byte, v reflect.Value, at string) fielderr.List {
	var values []json.RawMessage
	if json.Unmarshal(text, &values) != nil {
		return fielderr.New(at, "must be a list")
	}
	list := reflect.MakeSlice(v.Type(), len(values), len(values))
	for i, value := range values {
		if wrong := decode(value, list.Index(i), at+"/"+strconv.Itoa(i)); wrong != nil {
			return wrong
		}
	}
	v.Set(list)
	return nil
}

func next(d *json.Decoder) json.Token {
	t, err := d.Token()
	if err != nil {
		panic(err) // it is valid
	}
	return t
}

// structsIn reports whether a type has fields whose names must be checked.
func structsIn(t reflect.Type) bool {
	if decodesItself(t) {
		return false
	}
	if t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		return structsIn(t.Elem())
	}
	return t.Kind() == reflect.Struct
}

func decodesItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[json.Unmarshaler]()) || takesText(t)
}

func takesText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// fieldsOf returns the exported fields of a struct by their names in JSON.
func fieldsOf(t reflect.Type) map[string]int {
	fields := make(map[string]int, t.NumField())
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.IsExported() && name != "-" && name != "" {
			fields[name] = i
		}
	}
	return fields
}

// reasonOf translates an error of encoding/json.
func reasonOf(err error, t reflect.Type, at string) fielderr.List {
	var kind *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &kind):
		if kind.Field != "" {
			at, t = at+"/"+strings.ReplaceAll(kind.Field, ".", "/"), kind.Type
		}
		return fielderr.New(at, "is a JSON %s: it must be %s", kind.Value, wanted(t))
	}
	return fielderr.New(at, "%v", err)
}

// wanted returns the JSON type for a Go type.
func wanted(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		return wanted(t.Elem())
	}
	switch kind := t.Kind(); {
	case takesText(t), kind == reflect.String:
		if t == reflect.TypeFor[units.Duration]() {
			return `a text like "90s" or "5m"`
		}
		return "a text"
	case kind == reflect.Bool:
		return "true or false"
	case kind == reflect.Slice:
		return "a list"
	case kind == reflect.Map, kind == reflect.Struct:
		return "an object"
	case t.String() == "float64", t.String() == "float32":
		return "a number"
	}
	return fmt.Sprintf("a whole number of at most %d bits", t.Bits())
}
