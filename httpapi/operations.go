package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
)

// operation is a method of a path: what it does, who may use it, and what the
// document says of it. The API is the list of them, made by [API.operations].
type operation struct {
	method string
	path   string // {id} stands for an instance's id, {topic} for a topic
	scope  Scope
	handle func(w http.ResponseWriter, r *request) error

	query  []parameter // the names that a query may have; none: the query is not read
	header []parameter
	body   *requestBody // nil: the body is not read

	id      string // operationId of the document
	summary string
	about   string // follows the scope in the description
	answers []answerDoc
	fails   []int // statuses besides those that follow from scope, path and body
}

// parameter is one of a query or header.
type parameter struct {
	name     string
	about    string
	required bool
	repeated bool // it may be there several times
	schema   json.RawMessage
}

// requestBody is what an operation reads.
type requestBody struct {
	types  []string // content types; the first is the one that callers are told
	schema string   // a name of the document's schemas
}

// answerDoc is what an operation answers when it succeeds.
type answerDoc struct {
	status  int
	about   string
	schema  json.RawMessage // nil: there is no body
	headers map[string]json.RawMessage
	media   string // content type; "": JSON
}

func jsonBody(schema string) *requestBody { return &requestBody{[]string{jsonType}, schema} }

// ref is a reference to a component of the document: ref("schemas", "State").
func ref(kind, name string) json.RawMessage {
	return fmt.Appendf(nil, `{"$ref":"#/components/%s/%s"}`, kind, name)
}

// object is the schema of an object with one member.
func object(member string, schema json.RawMessage) json.RawMessage {
	return fmt.Appendf(nil, `{"type":"object","required":[%q],"additionalProperties":false,"properties":{%q:%s}}`, member, member, schema)
}

func listOf(schema string) json.RawMessage {
	return fmt.Appendf(nil, `{"type":"array","items":%s}`, ref("schemas", schema))
}

// instanceAnswer is an instance with its revision.
func instanceAnswer(status int, about string) answerDoc {
	return answerDoc{status: status, about: about, schema: ref("schemas", "Instance"), headers: map[string]json.RawMessage{"ETag": ref("headers", "ETag")}}
}

// done is an answer without a body.
var done = answerDoc{status: http.StatusNoContent, about: "Done; there is no body."}

// idempotencyKey is the header of operations that [API.once] carries out once.
var idempotencyKey = parameter{
	name: "Idempotency-Key", about: "The same request with the same key within ten minutes is carried out once, and answered alike.", schema: text(`,"maxLength":255`),
}

var replayed = map[string]json.RawMessage{"Idempotency-Replayed": json.RawMessage(`{"description":"true: it was carried out before.","schema":{"type":"string"}}`)}

// sent is an answer without a body of an operation with an idempotencyKey.
var sent = answerDoc{status: http.StatusNoContent, about: done.about, headers: replayed}

var limitParameter = parameter{
	name: "limit", about: "How many at the most.",
	schema: json.RawMessage(fmt.Sprintf(`{"type":"integer","minimum":1,"maximum":%d,"default":%d}`, maxPage, defaultPage)),
}

func ifMatch(about string, required bool) []parameter {
	return []parameter{{name: "If-Match", about: about, required: required, schema: json.RawMessage(`{"type":"string","pattern":"^(\\*|\"?[0-9]{1,19}\"?)$"}`)}}
}

func text(constraints string) json.RawMessage {
	return json.RawMessage(`{"type":"string"` + constraints + `}`)
}

// operations lists the whole API.
func (a *API) operations() []operation {
	return slices.Concat(a.operationsOfAll(), a.operationsOfOne(), a.operationsInside(), a.operationsOfAudiences(), a.operationsOfConnected(), a.operationsOfRevocations(), a.operationsOfHistory(), a.operationsOfEvents())
}

// operationsOfAll are those without an instance.
func (a *API) operationsOfAll() []operation {
	created := instanceAnswer(http.StatusCreated, "Created.")
	created.headers["Location"] = json.RawMessage(`{"description":"The instance's path.","schema":{"type":"string"}}`)
	return []operation{{
		method: "GET", path: "/api/openapi.json", scope: public, handle: a.serveDocument,
		id: "getDocument", summary: "This document",
		answers: []answerDoc{{status: 200, about: "This document.", schema: json.RawMessage(`{"type":"object"}`)}},
	}, {
		method: "GET", path: "/api/types", scope: Read, handle: a.types,
		id: "listTypes", summary: "The types of instances, with the JSON schemas of their configurations",
		answers: []answerDoc{{status: 200, about: "All types.", schema: object("types", listOf("Type"))}},
	}, {
		method: "GET", path: "/api/instances", scope: Read, handle: a.list,
		id: "listInstances", summary: "A page of the instances, by id", about: "A key for some ids sees those only.",
		query: []parameter{
			{name: "type", about: "Only those of this type.", schema: text("")},
			{name: "state", about: "Only those in this state.", schema: ref("schemas", "State")},
			{name: "label", about: "Only those with this label, as key:value; may be repeated.", repeated: true, schema: json.RawMessage(`{"type":"array","items":{"type":"string","pattern":"^[^:]+:.*$"}}`)},
			{name: "after", about: "The next of the page before.", schema: text("")},
			limitParameter,
		},
		answers: []answerDoc{{status: 200, about: "A page.", schema: ref("schemas", "Page")}},
	}, {
		method: "POST", path: "/api/instances", scope: Admin, handle: a.create, body: jsonBody("Spec"),
		id: "createInstance", summary: "Create an instance",
		about: "Idempotent by id: the same spec once more is answered 200 with the instance as it is, another spec of the id 409. " +
			"Once it is answered, the instance outlives a restart of a server with a data directory.",
		answers: []answerDoc{instanceAnswer(http.StatusOK, "There is one of this id and spec."), created},
		fails:   []int{http.StatusConflict, http.StatusServiceUnavailable},
	}}
}

// operationsOfOne change an instance, or show it.
func (a *API) operationsOfOne() []operation {
	return []operation{{
		method: "GET", path: "/api/instances/{id}", scope: Read, handle: a.get,
		id: "getInstance", summary: "An instance",
		answers: []answerDoc{instanceAnswer(http.StatusOK, "The instance.")},
	}, {
		method: "PATCH", path: "/api/instances/{id}", scope: Admin, handle: a.patch,
		header: ifMatch("The revision that the change is meant for, as ETag gave it; * for whatever it is.", true),
		body:   &requestBody{[]string{"application/merge-patch+json", jsonType}, "Patch"},
		id:     "patchInstance", summary: "Change an instance",
		about: "The body is a JSON merge patch (RFC 7396) of the spec, as application/merge-patch+json or application/json. A change of labels, history or idle_ttl does nothing to clients; one of config only what the type does; " +
			"any other restarts the instance, and its clients connect again. The answer comes when that start has succeeded or failed: see state.",
		answers: []answerDoc{instanceAnswer(http.StatusOK, "The instance.")},
		fails:   []int{http.StatusConflict, http.StatusPreconditionFailed, http.StatusPreconditionRequired, http.StatusServiceUnavailable},
	}, {
		method: "DELETE", path: "/api/instances/{id}", scope: Admin, handle: a.remove,
		header: ifMatch("Only at this revision.", false),
		id:     "deleteInstance", summary: "Drain an instance and remove it",
		about:   "When it is answered, the instance is gone from the store; its sockets are then closed at the server's pace.",
		answers: []answerDoc{done},
		fails:   []int{http.StatusConflict, http.StatusPreconditionFailed, http.StatusServiceUnavailable},
	}, {
		method: "POST", path: "/api/instances/{id}/drain", scope: Admin, handle: a.drain,
		id: "drain", summary: "Close an instance's sockets and stop it", about: "It stays, stopped, until it is resumed or deleted.",
		answers: []answerDoc{instanceAnswer(http.StatusAccepted, "It has begun.")},
		fails:   []int{http.StatusConflict, http.StatusServiceUnavailable},
	}, {
		method: "POST", path: "/api/instances/{id}/resume", scope: Admin, handle: a.resume,
		id: "resume", summary: "Start an instance that has stopped or failed", about: "The answer comes when the start has succeeded or failed: see state.",
		answers: []answerDoc{instanceAnswer(http.StatusOK, "The instance.")},
		fails:   []int{http.StatusConflict, http.StatusServiceUnavailable},
	}}
}

// operationsInside publish in an instance, or look inside.
func (a *API) operationsInside() []operation {
	inside := func(id, path, summary string, handle func(http.ResponseWriter, *request) error, query parameter, answer answerDoc) operation {
		return operation{
			method: "GET", path: "/api/instances/{id}/" + path, scope: Read, handle: handle, query: []parameter{query},
			id: id, summary: summary, answers: []answerDoc{answer}, fails: []int{http.StatusConflict, http.StatusServiceUnavailable},
		}
	}
	return []operation{{
		method: "POST", path: "/api/instances/{id}/broadcast", scope: Publish, handle: a.broadcast, body: jsonBody("Broadcast"),
		header: []parameter{idempotencyKey},
		id:     "broadcast", summary: "Send an event to all who have joined a topic",
		answers: []answerDoc{sent},
		fails:   []int{http.StatusConflict, http.StatusTooManyRequests, http.StatusServiceUnavailable},
	}, {
		method: "POST", path: "/api/instances/{id}/broadcasts", scope: Publish, handle: a.batch, body: jsonBody("Batch"),
		header: []parameter{idempotencyKey},
		id:     "broadcastMany", summary: "Send many events to many topics",
		about:   "A message that is wrong, or cannot be sent, does not keep the others from being sent: there is a result for each.",
		answers: []answerDoc{{status: 200, about: "What has become of each message.", schema: ref("schemas", "BatchResults"), headers: replayed}},
		fails:   []int{http.StatusConflict, http.StatusServiceUnavailable},
	}, {
		method: "POST", path: "/api/instances/{id}/signal", scope: Publish, handle: a.signal, body: jsonBody("Signal"),
		header: []parameter{idempotencyKey},
		id:     "signal", summary: "Call the instance's logic", about: "What signals there are is the type's to say.",
		answers: []answerDoc{{status: 200, about: "What the logic answered.", schema: object("result", json.RawMessage("{}")), headers: replayed}},
		fails:   []int{http.StatusConflict, http.StatusTooManyRequests, http.StatusServiceUnavailable},
	}, {
		method: "GET", path: "/api/instances/{id}/stats", scope: Read, handle: a.stats,
		id: "getStats", summary: "What an instance has counted",
		answers: []answerDoc{{status: 200, about: "Counts since it was created or the server started.", schema: ref("schemas", "Stats")}},
		fails:   []int{http.StatusServiceUnavailable},
	},
		inside("listTopics", "topics", "The topics that somebody has joined, most subscribers first", a.topics, limitParameter,
			answerDoc{status: 200, about: "The topics, with the subscribers on all nodes of a cluster.", schema: ref("schemas", "Topics")}),
		inside("getPresence", "presence", "Who is on a topic, as presence_state has it", a.presence,
			parameter{name: "topic", about: "The topic, like room:lobby.", required: true, schema: text(`,"minLength":1`)},
			answerDoc{status: 200, about: "Who is there, by key.", schema: object("presence", fmt.Appendf(nil, `{"type":"object","additionalProperties":%s}`, ref("schemas", "Entry")))}),
	}
}
