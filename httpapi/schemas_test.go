package httpapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	reflector "github.com/invopop/jsonschema"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/fielderr"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/units"
)

var rewrite = flag.Bool("rewrite", false, "write schemas.json anew")

// TestSchemas makes the schemas of the document from the Go types of bodies and answers:
// fields from their JSON names, constraints from their tags, descriptions from their comments.
func TestSchemas(t *testing.T) {
	text, err := json.MarshalIndent(makeSchemas(t), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, '\n')
	if *rewrite {
		if err := os.WriteFile("schemas.json", text, 0o644); err != nil {
			t.Fatal(err)
		}
		schemas = text
	}
	if !bytes.Equal(schemas, text) {
		t.Error("schemas.json is not what the Go types say: run make generate")
	}
}

// schemaNames are the names in the document of types whose Go names are others.
var schemaNames = map[reflect.Type]string{
	reflect.TypeFor[broadcastRequest]():    "Broadcast",
	reflect.TypeFor[batchRequest]():        "Batch",
	reflect.TypeFor[batchMessage]():        "BatchMessage",
	reflect.TypeFor[disconnectRequest]():   "Disconnect",
	reflect.TypeFor[pushRequest]():         "Push",
	reflect.TypeFor[revocationRequest]():   "RevocationRequest",
	reflect.TypeFor[audienceRequest]():     "Audience",
	reflect.TypeFor[channels.UserInfo]():   "User",
	reflect.TypeFor[signalRequest]():       "Signal",
	reflect.TypeFor[replayRequest]():       "ReplayRequest",
	reflect.TypeFor[typeAnswer]():          "Type",
	reflect.TypeFor[channels.SocketInfo](): "Socket",
	reflect.TypeFor[fielderr.Error]():      "FieldError",
}

// schema is a JSON schema as encoding/json reads it.
type schema = map[string]any

func makeSchemas(t *testing.T) schema {
	t.Helper()
	all := schema{
		"State": schema{"type": "string", "enum": states},
		"Labels": schema{
			"type": "object", "maxProperties": 32, "propertyNames": schema{"pattern": "^[A-Za-z0-9_./-]{1,63}$"},
			"additionalProperties": schema{"type": "string", "maxLength": 255},
		},
		"Entry": schema{
			"type": "object", "required": []any{"metas"},
			"description": "Entry is who is present under one key: a meta for each time it was tracked, and what the server adds to the key.",
			"properties": schema{"metas": schema{"type": "array", "minItems": 1, "items": schema{
				"type": "object", "required": []any{"phx_ref"}, "properties": schema{"phx_ref": schema{"type": "string"}},
			}}},
		},
	}
	r := reflector.Reflector{
		Anonymous: true, Mapper: mapType, LookupComment: comments(t, "httpapi", "auth", "instances", "channels", "fielderr", "history"),
		Namer: func(t reflect.Type) string { return schemaNames[t] },
	}
	for _, answer := range []any{Page{}, typeAnswer{}, instances.Stats{}, instances.Topic{}, channels.SocketInfo{}, Sockets{}, Users{}, Totals{}, Topics{}, BatchResults{}, Revocations{}, HistoryPage{}, Deleted{}, HookInfo{}, HookTest{}, Replay{}, DeadLetter{}, Problem{}, fielderr.Error{}} {
		addSchemas(t, all, r.Reflect(answer))
	}
	r.RequiredFromJSONSchemaTags = true // what may be left out of a body is more than what Go leaves out
	for _, body := range []any{instances.Spec{}, broadcastRequest{}, batchRequest{}, batchMessage{}, disconnectRequest{}, pushRequest{}, audienceRequest{}, revocationRequest{}, signalRequest{}, replayRequest{}} {
		addSchemas(t, all, r.Reflect(body))
	}
	patch := patchOf(all["Spec"].(schema), all)
	patch["type"], patch["description"] = "object", "A JSON merge patch (RFC 7396) of a Spec: members that are null are removed."
	all["Patch"] = patch
	return all
}

// mapType returns the schema of a type of which reflection knows less than we do.
func mapType(t reflect.Type) *reflector.Schema {
	switch t {
	case reflect.TypeFor[units.Duration]():
		return &reflector.Schema{Type: "string", Pattern: units.DurationPattern}
	case reflect.TypeFor[units.Bytes]():
		return &reflector.Schema{Type: "integer", Pattern: units.BytesPattern} // and a text: see addSchemas
	case reflect.TypeFor[instances.State]():
		return &reflector.Schema{Ref: "#/$defs/State"}
	case reflect.TypeFor[map[string]string]():
		return &reflector.Schema{Ref: "#/$defs/Labels"}
	case reflect.TypeFor[fielderr.List]():
		return &reflector.Schema{Type: "array", Items: &reflector.Schema{Ref: "#/$defs/FieldError"}}
	case reflect.TypeFor[time.Time](), reflect.TypeFor[json.RawMessage]():
		return nil // these the reflector knows
	}
	if t.Implements(reflect.TypeFor[json.Marshaler]()) {
		panic(t.String() + " writes its own JSON: say here what that is")
	}
	return nil
}

// JSONSchemaExtend keeps a broadcast from the names of the server's own events.
func (broadcastRequest) JSONSchemaExtend(s *reflector.Schema) { keepReserved(s) }

// JSONSchemaExtend does the same for a push.
func (pushRequest) JSONSchemaExtend(s *reflector.Schema) { keepReserved(s) }

// JSONSchemaExtend says that sockets must be named.
func (disconnectRequest) JSONSchemaExtend(s *reflector.Schema) {
	one := uint64(1)
	s.MinProperties = &one
}

// JSONSchemaExtend says the same of tokens.
func (revocationRequest) JSONSchemaExtend(s *reflector.Schema) {
	one := uint64(1)
	s.MinProperties = &one
}

// JSONSchemaExtend does the same for a message of a batch, and bounds its topics.
func (batchMessage) JSONSchemaExtend(s *reflector.Schema) {
	keepReserved(s)
	topics, _ := s.Properties.Get("topics")
	one, most := uint64(1), uint64(maxName)
	topics.Items.MinLength, topics.Items.MaxLength = &one, &most
}

// JSONSchemaExtend says what the messages are, of which each is decoded by itself.
func (batchRequest) JSONSchemaExtend(s *reflector.Schema) {
	messages, _ := s.Properties.Get("messages")
	one := uint64(1)
	messages.Items, messages.MinItems = &reflector.Schema{Ref: "#/$defs/BatchMessage"}, &one
}

func keepReserved(s *reflector.Schema) {
	event, _ := s.Properties.Get("event")
	event.Not = &reflector.Schema{Pattern: "^(phx_|chan_reply_|presence_|token_expiring|history_mark|history_state)"}
}

// addSchemas adds the definitions of what was reflected to all.
func addSchemas(t *testing.T, all schema, reflected *reflector.Schema) {
	t.Helper()
	for name, definition := range reflected.Definitions {
		text, err := json.Marshal(definition)
		if err != nil {
			t.Fatal(err)
		}
		var s schema
		if err := json.Unmarshal(bytes.ReplaceAll(text, []byte("#/$defs/"), []byte("#/components/schemas/")), &s); err != nil {
			t.Fatal(err)
		}
		properties, _ := s["properties"].(schema)
		for _, p := range properties {
			p, ok := p.(schema)
			switch {
			case ok && p["type"] == "integer" && p["pattern"] != nil:
				p["type"] = []any{"integer", "string"}
			case ok && p["type"] == "object" && p["properties"] == nil && p["additionalProperties"] == nil:
				p["additionalProperties"] = true // generated clients take an object without it for an empty one
			}
		}
		if before := all[name]; before != nil && !reflect.DeepEqual(before, s) {
			t.Errorf("%s is two schemas", name)
		}
		all[name] = s
	}
}

// patchOf returns the schema of a merge patch of what s describes: nothing in it is
// required, and everything may be null.
func patchOf(s, all schema) schema {
	if ref, ok := s["$ref"].(string); ok {
		return patchOf(all[ref[strings.LastIndexByte(ref, '/')+1:]].(schema), all)
	}
	patch := maps.Clone(s)
	delete(patch, "required")
	delete(patch, "description")
	switch kind := patch["type"].(type) {
	case string:
		patch["type"] = []any{kind, "null"}
	case []any:
		patch["type"] = append(slices.Clone(kind), "null")
	}
	if properties, ok := s["properties"].(schema); ok {
		patches := schema{}
		for name, p := range properties {
			patches[name] = patchOf(p.(schema), all)
		}
		patch["properties"] = patches
	}
	if values, ok := s["additionalProperties"].(schema); ok {
		patch["additionalProperties"] = patchOf(values, all)
	}
	return patch
}

// comments reads the comments of the types of some packages and of their fields, for
// callers of the API: with the names of JSON in place of Go's.
func comments(t *testing.T, packages ...string) func(reflect.Type, string) string {
	t.Helper()
	found := map[string]string{}
	for _, name := range packages {
		files, err := filepath.Glob(filepath.Join("..", name, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range parsed.Decls {
				if d, ok := d.(*ast.GenDecl); ok && d.Tok == token.TYPE {
					addComments(found, name, d)
				}
			}
		}
	}
	return func(t reflect.Type, field string) string {
		text := found[strings.TrimPrefix(t.PkgPath(), "github.com/mycelium-rt/mycelium/")+"."+t.Name()+"."+field]
		goName, name := t.Name(), cmp.Or(schemaNames[t], t.Name())
		if field != "" {
			f, _ := t.FieldByName(field)
			goName = field
			name, _, _ = strings.Cut(f.Tag.Get("json"), ",")
		}
		if rest, ok := strings.CutPrefix(text, goName+" "); ok {
			return name + " " + rest
		}
		return text
	}
}

// docLink is a link of go doc. What stands in parentheses with one is for readers of Go.
var docLink = regexp.MustCompile(` \([^()]*\[[\w.]+\][^()]*\)|\[[\w.]+\]`)

func addComments(found map[string]string, pkg string, d *ast.GenDecl) {
	plain := func(groups ...*ast.CommentGroup) string {
		for _, g := range groups {
			if text := strings.Join(strings.Fields(g.Text()), " "); text != "" {
				return docLink.ReplaceAllStringFunc(text, func(link string) string {
					if strings.HasPrefix(link, " (") {
						return ""
					}
					return strings.Trim(link, "[]")
				})
			}
		}
		return ""
	}
	for _, spec := range d.Specs {
		spec := spec.(*ast.TypeSpec)
		key := fmt.Sprintf("%s.%s.", pkg, spec.Name.Name)
		found[key] = plain(spec.Doc, d.Doc)
		if s, ok := spec.Type.(*ast.StructType); ok {
			for _, f := range s.Fields.List {
				for _, name := range f.Names {
					found[key+name.Name] = plain(f.Doc, f.Comment)
				}
			}
		}
	}
}
