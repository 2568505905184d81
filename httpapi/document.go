package httpapi

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// openAPI is the document of the API without its paths, which follow from the
// operations.
//
//go:embed openapi.json
var openAPI []byte

// failures are the responses of the document by status.
var failures = map[int]string{
	http.StatusBadRequest: "BadRequest", http.StatusUnauthorized: "Unauthorized", http.StatusForbidden: "Forbidden",
	http.StatusNotFound: "NotFound", http.StatusConflict: "Conflict", http.StatusPreconditionFailed: "PreconditionFailed",
	http.StatusRequestEntityTooLarge: "TooLarge", http.StatusUnsupportedMediaType: "UnsupportedMediaType",
	http.StatusUnprocessableEntity: "Invalid", http.StatusPreconditionRequired: "PreconditionRequired",
	http.StatusTooManyRequests: "Overloaded", http.StatusServiceUnavailable: "Stopping",
}

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
		for i := range r.operations {
			item[strings.ToLower(r.operations[i].method)] = r.operations[i].document()
		}
		paths[r.path] = item
	}
	text, err := json.MarshalIndent(paths, " ", " ")
	if err != nil {
		panic(err) // the parts are constants
	}
	return bytes.Replace(openAPI, []byte(`"paths": {}`), append([]byte(`"paths": `), text...), 1)
}

// document returns the operation as an OpenAPI operation object.
func (o *operation) document() map[string]any {
	d := map[string]any{"operationId": o.id, "summary": o.summary, "responses": o.responses()}
	if o.scope == Public {
		d["security"] = []any{map[string]any{}}
	} else {
		d["description"] = strings.TrimSpace("Scope: " + string(o.scope) + ". " + o.about)
	}
	if len(o.query)+len(o.header) > 0 {
		d["parameters"] = append(documentParameters("query", o.query), documentParameters("header", o.header)...)
	}
	if o.body != nil {
		content := make(map[string]any, len(o.body.types))
		for _, kind := range o.body.types {
			content[kind] = map[string]any{"schema": ref("schemas", o.body.schema)}
		}
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
		all[strconv.Itoa(status)] = ref("responses", failures[status])
	}
	for _, s := range o.answers {
		response := map[string]any{"description": s.about}
		if s.schema != nil {
			response["content"] = map[string]any{jsonType: map[string]any{"schema": s.schema}}
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
