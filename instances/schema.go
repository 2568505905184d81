package instances

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	reflector "github.com/invopop/jsonschema"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/mycelium-rt/mycelium/fielderr"
	"github.com/mycelium-rt/mycelium/internal/nearest"
	"github.com/mycelium-rt/mycelium/units"
)

// schema is the JSON schema of a type's configuration, as text and compiled.
type schema struct {
	text     json.RawMessage
	compiled *jsonschema.Schema
}

// unitSchema returns the schema of a quantity with a unit, nil if t is not one.
func unitSchema(t reflect.Type) *reflector.Schema {
	switch t {
	case reflect.TypeFor[units.Duration]():
		return &reflector.Schema{Type: "string", Pattern: units.DurationPattern, Description: `a duration like "90s", "5m" or "1h30m"`}
	case reflect.TypeFor[units.Bytes]():
		return &reflector.Schema{
			Extras: map[string]any{"type": []string{"integer", "string"}}, Minimum: "0", Pattern: units.BytesPattern,
			Description: `a number of bytes, or a size like "64KiB"`,
		}
	}
	return nil
}

// schemaOf returns the schema of a struct. It panics if there is none, which is
// a mistake in the program.
func schemaOf[C any](name string) *schema {
	var zero C
	r := reflector.Reflector{Anonymous: true, DoNotReference: true, ExpandedStruct: true, Mapper: unitSchema}
	text, err := json.Marshal(r.Reflect(zero))
	if err != nil {
		panic(fmt.Sprintf("instances: the schema of type %q: %v", name, err))
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		panic(fmt.Sprintf("instances: the schema of type %q: %v", name, err))
	}
	c := jsonschema.NewCompiler()
	at := "mycelium:" + name
	if err := c.AddResource(at, document); err != nil {
		panic(fmt.Sprintf("instances: the schema of type %q: %v", name, err))
	}
	compiled, err := c.Compile(at)
	if err != nil {
		panic(fmt.Sprintf("instances: the schema of type %q: %v", name, err))
	}
	return &schema{text: text, compiled: compiled}
}

// check returns what is wrong with a configuration.
func (s *schema) check(config json.RawMessage) fielderr.List {
	if len(config) == 0 {
		config = json.RawMessage("{}")
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(config))
	if err != nil {
		return fielderr.New("/config", "is not valid JSON: %v", err)
	}
	var wrong *jsonschema.ValidationError
	if err := s.compiled.Validate(value); errors.As(err, &wrong) {
		return s.fieldErrors(wrong)
	}
	return nil
}

var english = message.NewPrinter(language.English)

// fieldErrors flattens a validation error, to one error for each field.
func (s *schema) fieldErrors(e *jsonschema.ValidationError) (list fielderr.List) {
	if len(e.Causes) > 0 {
		for _, cause := range e.Causes {
			list = append(list, s.fieldErrors(cause)...)
		}
		return list
	}
	fields := s.fieldsAt(e.InstanceLocation)
	at := "/config"
	for _, token := range e.InstanceLocation {
		at += "/" + fielderr.Escape(token)
	}
	switch k := e.ErrorKind.(type) {
	case *kind.Required: // the field is the missing one
		for _, name := range k.Missing {
			list.Add(at+"/"+fielderr.Escape(name), "%s", missing(fields[name]))
		}
		return list
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			list.Add(at+"/"+fielderr.Escape(name), "%s", nearest.UnknownField(name, slices.Collect(maps.Keys(fields))))
		}
		return list
	case *kind.Pattern:
		return fielderr.New(at, "%q does not match the pattern %s", k.Got, k.Want)
	}
	return fielderr.New(at, "%s", e.ErrorKind.LocalizedString(english))
}

// fieldsAt returns the fields of the object at a place in a configuration.
func (s *schema) fieldsAt(location []string) map[string]*jsonschema.Schema {
	at := s.compiled
	for _, token := range location {
		if at == nil {
			return nil
		}
		next := at.Properties[token]
		if next == nil {
			next, _ = at.AdditionalProperties.(*jsonschema.Schema)
		}
		if next == nil {
			next = at.Items2020
		}
		at = next
	}
	if at == nil {
		return nil
	}
	return at.Properties
}

func missing(field *jsonschema.Schema) string {
	if field == nil || field.Description == "" {
		return "is missing"
	}
	return "is missing: it is " + field.Description
}

// decodeConfig decodes a configuration that the schema has checked.
func decodeConfig[C any](raw json.RawMessage) (config C, err error) {
	if len(raw) == 0 {
		raw = json.RawMessage("{}")
	}
	if err := json.Unmarshal(raw, &config); err != nil {
		field := "/config"
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) && wrong.Field != "" {
			field += "/" + strings.ReplaceAll(wrong.Field, ".", "/")
		}
		return config, fielderr.New(field, "%v", err)
	}
	return config, nil
}
