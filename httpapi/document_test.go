package httpapi

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/mycelium-rt/mycelium/presence"
)

// document is openapi.json, as far as the tests look at it.
type document struct {
	Paths map[string]map[string]json.RawMessage `json:"paths"`
}

type documentedOperation struct {
	OperationID string                     `json:"operationId"`
	Responses   map[string]json.RawMessage `json:"responses"`
}

// operation returns what the document says of a method of a path; nil where it
// says nothing.
func (d *document) operation(t *testing.T, path, method string) *documentedOperation {
	t.Helper()
	raw := d.Paths[path][strings.ToLower(method)]
	if raw == nil {
		return nil
	}
	var op documentedOperation
	if err := json.Unmarshal(raw, &op); err != nil {
		t.Fatal(err)
	}
	return &op
}

func parseDocument(t *testing.T) *document {
	t.Helper()
	var d document
	if err := json.Unmarshal(wholeDocument(), &d); err != nil {
		t.Fatal(err)
	}
	return &d
}

func wholeDocument() []byte { return documentOf(routesOf(new(API).operations())) }

// TestOperations: each operation has what the document and the server need of it.
func TestOperations(t *testing.T) {
	ids := map[string]bool{}
	for _, o := range new(API).operations() {
		if o.handle == nil || o.scope == "" || o.summary == "" || len(o.answers) == 0 || o.id == "" || ids[o.id] {
			t.Errorf("%s %s: handler, scope, summary, answers or an id of its own are missing", o.method, o.path)
		}
		ids[o.id] = true
		for _, status := range o.failures() {
			if failures[status].name == "" {
				t.Errorf("%s %s: the document has no response of status %d", o.method, o.path, status)
			}
		}
	}
}

// TestDocumentIsWhole: what the document refers to is there, and nothing is there
// that nobody refers to.
func TestDocumentIsWhole(t *testing.T) {
	var d struct {
		Paths      map[string]any            `json:"paths"`
		Components map[string]map[string]any `json:"components"`
	}
	text := wholeDocument()
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Paths) != len(routesOf(new(API).operations())) {
		t.Errorf("%d paths", len(d.Paths))
	}
	found := map[string]bool{}
	for _, m := range regexp.MustCompile(`"\$ref": "#/components/([A-Za-z]+)/([A-Za-z]+)"`).FindAllStringSubmatch(string(text), -1) {
		found[m[1]+"/"+m[2]] = true
		if d.Components[m[1]][m[2]] == nil {
			t.Errorf("%s is not there", m[0])
		}
	}
	for _, kind := range []string{"headers", "parameters", "responses", "schemas"} {
		for name := range d.Components[kind] {
			if !found[kind+"/"+name] {
				t.Errorf("nothing refers to %s/%s", kind, name)
			}
		}
	}
}

// documented checks an answer against the document: that its status is foreseen
// and its body as the schema says.
func (f *fixture) documented(method string, target string, r *http.Response) {
	f.t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		f.t.Fatal(err)
	}
	found, _ := f.api.find(u)
	if found == nil || found.operation(method) == nil || r.StatusCode == http.StatusUnauthorized {
		return // 404, 405 and 401 of what is no operation
	}
	status := strconv.Itoa(r.StatusCode)
	op := f.document.operation(f.t, found.path, method)
	raw := op.Responses[status]
	if raw == nil {
		f.t.Errorf("%s %s: status %s is not in the document", method, target, status)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	pointer := "/paths/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(found.path) + "/" + strings.ToLower(method) + "/responses/" + status
	var response struct {
		Ref     string                     `json:"$ref"`
		Content map[string]json.RawMessage `json:"content"`
	}
	if err := json.Unmarshal(raw, &response); err != nil {
		f.t.Fatal(err)
	}
	kind := jsonType
	if response.Ref != "" {
		pointer, kind = strings.TrimPrefix(response.Ref, "#"), "application/problem+json"
	} else if len(response.Content) == 0 {
		if len(body) > 0 {
			f.t.Errorf("%s %s: a body that is not in the document: %s", method, target, body)
		}
		return
	}
	if got := r.Header.Get("Content-Type"); got != kind {
		f.t.Errorf("%s %s: Content-Type %s, want %s", method, target, got, kind)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		f.t.Errorf("%s %s: %v: %s", method, target, err, body)
		return
	}
	if err := f.schema(pointer + "/content/" + strings.ReplaceAll(kind, "/", "~1") + "/schema").Validate(value); err != nil {
		f.t.Errorf("%s %s: %s\nis not as the document says: %v", method, target, body, err)
	}
}

// schema compiles the part of the document that a JSON pointer names.
func (f *fixture) schema(pointer string) *jsonschema.Schema {
	f.t.Helper()
	if s := f.schemas[pointer]; s != nil {
		return s
	}
	if f.compiler == nil {
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(wholeDocument()))
		if err != nil {
			f.t.Fatal(err)
		}
		f.compiler, f.schemas = jsonschema.NewCompiler(), map[string]*jsonschema.Schema{}
		if err := f.compiler.AddResource("openapi.json", value); err != nil {
			f.t.Fatal(err)
		}
	}
	s, err := f.compiler.Compile("openapi.json#" + strings.NewReplacer("{", "%7B", "}", "%7D").Replace(pointer))
	if err != nil {
		f.t.Fatal(err)
	}
	f.schemas[pointer] = s
	return s
}

// TestDocumentHasPresences: the schema of an entry fits what package presence writes.
func TestDocumentHasPresences(t *testing.T) {
	f := newFixture(t, Options{})
	metas := []presence.Meta{{Ref: "1", JSON: json.RawMessage(`{"phx_ref":"1","name":"a"}`)}}
	for _, entry := range []presence.Entry{{Metas: metas}, {Metas: metas, Fetched: json.RawMessage(`{"user":{"name":"a"}}`)}} {
		text, err := json.Marshal(entry)
		if err != nil {
			t.Fatal(err)
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := f.schema("/components/schemas/Entry").Validate(value); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestDocumentHasTheBodies: the document permits the bodies that the API accepts, and no others.
func TestDocumentHasTheBodies(t *testing.T) {
	f := newFixture(t, Options{})
	want(t, f.call("POST", "/api/instances", `{"id":"one","type":"note"}`), 201, "")
	long := func(n int) string { return strings.Repeat("x", n) }
	for _, c := range []struct {
		schema, body string
		right        bool
	}{
		{"Spec", `{"id":"a","type":"note","config":{"text":"hi"},"labels":{"a":"b"},"limits":{"max_connections":1,"total_bytes_per_second":9},"idle_ttl":"5m"}`, true},
		{"Spec", `{"type":"note","other":1}`, false},
		{"Spec", `{"id":"a"}`, false},
		{"Spec", `{"id":"","type":"note"}`, true},
		{"Spec", `{"id":"` + long(64) + `","type":"note"}`, true},
		{"Spec", `{"id":"` + long(65) + `","type":"note"}`, false},
		{"Spec", `{"id":"a b","type":"note"}`, false},
		{"Spec", `{"type":"note","labels":{"` + long(63) + `":"` + long(255) + `"}}`, true},
		{"Spec", `{"type":"note","labels":{"` + long(64) + `":""}}`, false},
		{"Spec", `{"type":"note","labels":{"a":"` + long(256) + `"}}`, false},
		{"Spec", `{"type":"note","labels":{"a b":""}}`, false},
		{"Spec", `{"type":"note","labels":{"a./_-9":""}}`, true},
		{"Spec", `{"type":"note","labels":{"a":1}}`, false},
		{"Spec", `{"type":"note","labels":` + manyLabels(32) + `}`, true},
		{"Spec", `{"type":"note","labels":` + manyLabels(33) + `}`, false},
		{"Spec", `{"type":"note","idle_ttl":"1h30m"}`, true},
		{"Spec", `{"type":"note","idle_ttl":"-5m"}`, false},
		{"Spec", `{"type":"note","idle_ttl":90}`, false},
		{"Spec", `{"type":"note","limits":{"max_message":"64KiB","bytes_per_second":65536}}`, true},
		{"Spec", `{"type":"note","limits":{"max_message":"64TiB"}}`, false},
		{"Spec", `{"type":"note","limits":{"max_message":-1}}`, false},
		{"Spec", `{"type":"note","limits":{"max_connections":"5"}}`, false},
		{"Spec", `{"type":"note","limits":{"heartbeats_per_second":65535}}`, true},
		{"Spec", `{"type":"note","limits":{"heartbeats_per_second":65536}}`, false},
		{"Spec", `{"type":"note","limits":{"socket_bytes":1}}`, false},
		{"Patch", `{"config":null,"labels":{"a":null},"idle_ttl":null,"limits":{"max_message":1}}`, true},
		{"Patch", `{"limits":{"max_message":null,"max_channels":2}}`, true},
		{"Patch", `{"limits":null,"auth":null}`, true},
		{"Patch", `{"labels":{"a":1}}`, false},
		{"Patch", `{"other":null}`, false},
		{"Broadcast", `{"topic":"t","event":"e","payload":{}}`, true},
		{"Broadcast", `{"topic":"` + long(255) + `","event":"` + long(255) + `"}`, true},
		{"Broadcast", `{"topic":"` + long(256) + `","event":"e"}`, false},
		{"Broadcast", `{"topic":"t","event":"` + long(256) + `"}`, false},
		{"Broadcast", `{"topic":"t","event":""}`, false},
		{"Broadcast", `{"event":"e"}`, false},
		{"Broadcast", `{"topic":"t","event":"phx_close"}`, false},
		{"Broadcast", `{"topic":"t","event":"presence_diff"}`, false},
		{"Broadcast", `{"topic":"t","event":"token_expiring"}`, false},
		{"Broadcast", `{"topic":"t","event":"history_mark"}`, false},
		{"Broadcast", `{"topic":"t","event":"chan_reply_1"}`, false},
		{"Broadcast", `{"topic":"t","event":"e","payload":[]}`, false},
		{"Disconnect", `{"socket_id":"s"}`, true},
		{"Disconnect", `{"socket_id":""}`, false},
		{"Disconnect", `{}`, false},
		{"Signal", `{"name":"echo","data":[1]}`, true},
		{"Signal", `{"name":"echo"}`, true},
		{"Signal", `{"data":1}`, false},
	} {
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		if err := f.schema("/components/schemas/" + c.schema).Validate(value); (err == nil) != c.right {
			t.Errorf("the document about %s %s: %v", c.schema, c.body, err)
		}
		if status := f.send(c.schema, c.body); (status < 300) != c.right || status != 422 && status >= 300 {
			t.Errorf("%s %s is answered %d", c.schema, c.body, status)
		}
	}
	r := f.call("GET", "/api/openapi.json", "")
	want(t, r, 200, `"openapi": "3.1.0"`)
}

// send makes the request whose body has a schema, and returns the status of the answer.
func (f *fixture) send(schema, body string) int {
	f.t.Helper()
	switch schema {
	case "Spec":
		return f.call("POST", "/api/instances", body).StatusCode
	case "Patch":
		return f.call("PATCH", "/api/instances/one", body, "If-Match", "*").StatusCode
	}
	return f.call("POST", "/api/instances/one/"+strings.ToLower(schema), body).StatusCode
}

// manyLabels is so many labels in JSON.
func manyLabels(n int) string {
	labels := make(map[string]string, n)
	for i := range n {
		labels["l"+strconv.Itoa(i)] = ""
	}
	text, _ := json.Marshal(labels) // strings can be encoded
	return string(text)
}
