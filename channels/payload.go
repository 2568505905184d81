package channels

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/mycelium-rt/mycelium/internal/callback"
	"github.com/mycelium-rt/mycelium/wire"
)

// Binary is a payload of bytes. JavaScript gets it as an ArrayBuffer. Clients
// of protocol version 1 cannot get it.
type Binary []byte

// NoReply is the result of a handler that sends no reply, or of a join whose
// response is the empty object.
type NoReply struct{}

// Reply is the result of a handler that chooses the status of its reply. The
// zero Reply sends none.
type Reply struct {
	// Status is "ok", "error" or a word of the application; with "" no reply is
	// sent.
	Status string
	// Response may be anything that a push takes as payload and any other
	// JSON value; nil is {}.
	Response any
}

var emptyObject = []byte("{}")

// encodePayload makes the payload of a push, reply or broadcast from v. What
// it returns may share memory with v.
func encodePayload(v any) (Payload, error) {
	switch v := v.(type) {
	case nil, NoReply:
		return Payload{Data: emptyObject}, nil
	case Payload:
		return v, nil
	case Binary:
		return Payload{Data: v, Binary: true}, nil
	case json.RawMessage:
		if v == nil {
			return Payload{Data: emptyObject}, nil
		}
		compact, err := wire.Validate(bytes.Clone(v))
		if err != nil {
			return Payload{}, fmt.Errorf("channels: encoding a payload: %w", err)
		}
		return Payload{Data: compact}, nil
	}
	var buf bytes.Buffer
	if err := encodeJSON(&buf, v); err != nil {
		return Payload{}, fmt.Errorf("channels: encoding a payload: %w", err)
	}
	data := bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
	if string(data) == "null" {
		data = ofNil(v)
	}
	return Payload{Data: data}, nil
}

// ofNil returns what clients are sent for a value that encoding/json encodes as
// null: the empty value of its kind if it is nil, because clients access its
// fields.
func ofNil(v any) []byte {
	value := reflect.ValueOf(v)
	switch value.Kind() {
	case reflect.Map, reflect.Slice, reflect.Pointer:
	default:
		return []byte("null")
	}
	t := value.Type()
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case !value.IsNil():
		return []byte("null")
	case t.Kind() == reflect.Map || t.Kind() == reflect.Struct:
		return emptyObject
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		return []byte(`""`)
	case t.Kind() == reflect.Slice:
		return []byte("[]")
	}
	return []byte("null")
}

// encodeJSON may run an application's MarshalJSON. A panic in it becomes an
// error for the sender: a broadcast fails, and a handler's reply ends its
// channel, like any error of encoding.
func encodeJSON(buf *bytes.Buffer, v any) (err error) {
	defer callback.Recover("MarshalJSON", &err)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false) // as in Phoenix; JavaPhoenixClient compares texts
	return enc.Encode(v)
}

// decoderFor returns a function that decodes a payload to a T. Its errors are
// for the client.
func decoderFor[T any]() func(Payload) (T, error) {
	var zero T
	switch any(zero).(type) {
	case Payload:
		return func(p Payload) (T, error) { return any(p).(T), nil }
	case Binary:
		return func(p Payload) (T, error) {
			if !p.Binary {
				return zero, Errorf("invalid payload: this event takes bytes, not JSON")
			}
			return any(Binary(p.Data)).(T), nil
		}
	case json.RawMessage:
		return func(p Payload) (T, error) {
			if p.Binary {
				return zero, errNotJSON()
			}
			return any(json.RawMessage(p.Data)).(T), nil
		}
	case NoReply:
		panic("channels: NoReply is a result, not a payload")
	}
	if !zeroOfEmpty[T]() {
		return decodeJSON[T]
	}
	return func(p Payload) (T, error) {
		if !p.Binary && string(p.Data) == "{}" {
			return zero, nil
		}
		return decodeJSON[T](p)
	}
}

// zeroOfEmpty reports whether {} decodes to the zero value of T, so that
// decoding can be skipped. Most joins have no params.
func zeroOfEmpty[T any]() bool {
	_, itself := any(new(T)).(json.Unmarshaler)
	return !itself && reflect.TypeFor[T]().Kind() == reflect.Struct
}

func decodeJSON[T any](p Payload) (v T, err error) {
	if p.Binary {
		return v, errNotJSON()
	}
	if err := json.Unmarshal(p.Data, &v); err != nil {
		return v, Errorf("invalid payload: %s", describe(err))
	}
	return v, nil
}

func errNotJSON() error { return Errorf("invalid payload: this event takes JSON, not bytes") }

// describe says what is wrong with a payload in terms of JSON, because Go's
// type names mean nothing to a client.
func describe(err error) string {
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return err.Error()
	}
	where := "the payload"
	if wrong.Field != "" {
		where = fmt.Sprintf("%q", wrong.Field)
	}
	return fmt.Sprintf("%s is a JSON %s where %s belongs", where, wrong.Value, jsonKind(wrong.Type))
}

func jsonKind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Pointer:
		return jsonKind(t.Elem())
	default:
		return "an integer"
	}
}
