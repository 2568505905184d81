package httpapi

import (
	"bytes"
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// openAPI is the document of the API without its paths, responses and schemas. The
// paths follow from the operations and the responses from failures. The schemas are
// made from the Go types by "make generate".
var (
	//go:embed openapi.json
	openAPI []byte
	//go:embed schemas.json
	schemas []byte
)

// failures are the problems of the document by status.
var failures = map[int]failure{
	http.StatusBadRequest:            {"BadRequest", "Malformed JSON, query or header."},
	http.StatusUnauthorized:          {"Unauthorized", "The key is missing or unknown."},
	http.StatusForbidden:             {"Forbidden", "The key does not permit it."},
	http.StatusNotFound:              {"NotFound", "There is no such instance or path."},
	http.StatusConflict:              {"Conflict", "The state of the instance, or another instance with the id, does not permit it."},
	http.StatusPreconditionFailed:    {"PreconditionFailed", "The instance has changed since the revision in If-Match."},
	http.StatusRequestEntityTooLarge: {"TooLarge", "The body is too large."},
	http.StatusUnsupportedMediaType:  {"UnsupportedMediaType", "The body is not JSON."},
	http.StatusUnprocessableEntity:   {"Invalid", "Fields are wrong: errors says which and why."},
	http.StatusPreconditionRequired:  {"PreconditionRequired", "If-Match is needed."},
	http.StatusTooManyRequests:       {"Overloaded", "More is broadcast in the instance than can be sent."},
	http.StatusServiceUnavailable:    {"Stopping", "The server is stopping."},
}

// failure is a response of the document whose body is a Problem.
type failure struct{ name, about string }

func (a *API) serveDocument(w http.ResponseWriter, _ *request) error {
	w.Header().Set("Content-Type", jsonType)
	w.Write(a.document) //nolint:errcheck // the caller may be gone
	return nil
}

// documentOf returns the whole document.
func documentOf(routes []route) []byte {
	paths := make(map[string]map[string]any, len(routes))
	for _, r := range routes {
		item := make(map[string]any, len(r.operations)+1)
		if r.hasID() {
			item["parameters"] = []any{ref("parameters", "id")}
		}
		if r.hasTopic() {
			item["parameters"] = []any{ref("parameters", "id"), ref("parameters", "topic")}
		}
		if r.hasHook() {
			item["parameters"] = []any{ref("parameters", "id"), ref("parameters", "hook")}
		}
		for i := range r.operations {
			item[strings.ToLower(r.operations[i].method)] = r.operations[i].document()
		}
		paths[r.path] = item
	}
	responses := make(map[string]any, len(failures))
	for _, f := range failures {
		responses[f.name] = map[string]any{"description": f.about, "content": map[string]any{problemMediaType: map[string]any{"schema": ref("schemas", "Problem")}}}
	}
	text := openAPI
	for name, part := range map[string]any{"paths": paths, "responses": responses, "schemas": json.RawMessage(schemas)} {
		value, err := json.MarshalIndent(part, " ", " ")
		if err != nil {
			panic(err) // the parts are constants
		}
		text = bytes.Replace(text, fmt.Appendf(nil, "%q: {}", name), fmt.Appendf(nil, "%q: %s", name, value), 1)
	}
	return text
}

// document returns the operation as an OpenAPI operation object.
func (o *operation) document() map[string]any {
	d := map[string]any{"operationId": o.id, "summary": o.summary, "responses": o.responses()}
	if o.scope == public {
		d["security"] = []any{map[string]any{}}
	} else {
		d["description"] = strings.TrimSpace("Scope: " + string(o.scope) + ". " + o.about)
	}
	if len(o.query)+len(o.header) > 0 {
		d["parameters"] = append(documentParameters("query", o.query), documentParameters("header", o.header)...)
	}
	if o.body != nil {
		// One type: generators of clients make a choice of equal types of several.
		content := map[string]any{o.body.types[0]: map[string]any{"schema": ref("schemas", o.body.schema)}}
		d["requestBody"] = map[string]any{"required": true, "content": content}
	}
	return d
}

func documentParameters(in string, parameters []parameter) (list []any) {
	for _, p := range parameters {
		list = append(list, map[string]any{"name": p.name, "in": in, "required": p.required, "description": p.about, "schema": p.schema})
	}
	return list
}

// responses returns what the operation answers, by status.
func (o *operation) responses() map[string]any {
	all := make(map[string]any)
	for _, status := range o.failures() {
		all[strconv.Itoa(status)] = ref("responses", failures[status].name)
	}
	for _, s := range o.answers {
		response := map[string]any{"description": s.about}
		if s.schema != nil {
			response["content"] = map[string]any{cmp.Or(s.media, jsonType): map[string]any{"schema": s.schema}}
		}
		if s.headers != nil {
			response["headers"] = s.headers
		}
		all[strconv.Itoa(s.status)] = response
	}
	return all
}

// failures returns the statuses of the problems that the operation may answer.
func (o *operation) failures() []int {
	all := append([]int{http.StatusUnauthorized, http.StatusForbidden}, o.fails...)
	if strings.Contains(o.path, idSegment) {
		all = append(all, http.StatusNotFound)
	}
	if len(o.query)+len(o.header) > 0 || o.body != nil {
		all = append(all, http.StatusBadRequest)
	}
	if o.body != nil {
		all = append(all, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity)
	}
	return all
}
