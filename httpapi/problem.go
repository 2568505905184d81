package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/fielderr"
	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/instances"
)

// Problem is an error in the form of RFC 9457. It is the body of every answer whose
// status is not 200 to 299.
type Problem struct {
	// Type names the kind of problem for programs: "urn:mycelium:problem:conflict".
	Type string `json:"type"`
	// Title names it for people.
	Title string `json:"title"`
	// Status is the status of the answer.
	Status int `json:"status"`
	// Detail says what was wrong with this request and what would be right.
	Detail string `json:"detail"`
	// Errors are the wrong fields of the request's body, if any.
	Errors fielderr.List `json:"errors,omitempty"`
	// Revision is the instance's current one, if the request expected another.
	Revision uint64 `json:"revision,omitempty"`

	header http.Header
}

func (p *Problem) Error() string { return p.Title + ": " + p.Detail }

// problemMediaType is the Content-Type of a Problem.
const problemMediaType = "application/problem+json"

// problemType begins the types: they are names, not addresses.
const problemType = "urn:mycelium:problem:"

func problem(status int, kind, title, format string, args ...any) *Problem {
	return &Problem{Type: problemType + kind, Title: title, Status: status, Detail: fmt.Sprintf(format, args...)}
}

func (p *Problem) with(header, value string) *Problem {
	if p.header == nil {
		p.header = http.Header{}
	}
	p.header.Set(header, value)
	return p
}

func notFound(format string, args ...any) *Problem {
	return problem(http.StatusNotFound, "not-found", "Not found", format, args...)
}

func notAllowed(r *route) *Problem {
	allow := r.allow()
	return problem(http.StatusMethodNotAllowed, "method-not-allowed", "Method not allowed", "this path takes %s", allow).with("Allow", allow)
}

func invalid(wrong fielderr.List) *Problem {
	p := problem(http.StatusUnprocessableEntity, "invalid", "Invalid request", "%v", wrong)
	p.Errors = wrong
	return p
}

// problemFor is what a caller is told of an error.
func problemFor(err error) *Problem {
	var p *Problem
	var wrong fielderr.List
	var conflict *instances.ConflictError
	var revision *instances.RevisionError
	var signal *instances.SignalError
	var elsewhere *instances.ElsewhereError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &wrong):
		return invalid(wrong)
	case errors.As(err, &conflict):
		return problem(http.StatusConflict, "conflict", "Another instance has this id",
			"instance %q exists with another %s: choose another id, or PATCH it", conflict.ID, strings.Join(conflict.Fields, ", "))
	case errors.As(err, &revision):
		p := problem(http.StatusPreconditionFailed, "revision", "The instance has changed",
			"it is at revision %d, not %d: read it again, and send what you then want with If-Match: %q", revision.Have, revision.Want, strconv.FormatUint(revision.Have, 10))
		p.Revision = revision.Have
		return p
	case errors.As(err, &signal):
		return problem(http.StatusUnprocessableEntity, "signal", "The instance refused the signal", "%s", signal.Reason)
	}
	if errors.As(err, &elsewhere) {
		return problem(http.StatusServiceUnavailable, "elsewhere", "Another node runs the instance",
			"the node %s runs instance %q: try again, or ask there", elsewhere.Owner.Node, elsewhere.ID).with("Retry-After", "1")
	}
	return problemForState(err)
}

func problemForState(err error) *Problem {
	switch {
	case errors.Is(err, instances.ErrNotFound):
		return notFound("no instance has this id; GET %s/instances lists all", Prefix)
	case errors.Is(err, instances.ErrDeclared):
		return problem(http.StatusConflict, "declared", "The configuration's instance", "this instance is declared in the server's configuration: change it there")
	case errors.Is(err, instances.ErrDraining):
		return problem(http.StatusConflict, "draining", "The instance is being removed", "its id is free again in a moment").with("Retry-After", "2")
	case errors.Is(err, instances.ErrNotRunning):
		return problem(http.StatusConflict, "not-running", "The instance is not running", "its state says why: GET it; POST …/resume starts one that has stopped or failed")
	case errors.Is(err, instances.ErrNoHistory):
		return problem(http.StatusConflict, "no-history", "Nothing is recorded", "the spec of this instance has no history; the server's configuration has that of the instance default, as history.rules")
	case errors.Is(err, instances.ErrNoOwner):
		return problem(http.StatusServiceUnavailable, "no-owner", "No node runs the instance", "a node of the cluster starts it as soon as it can: GET it, its reason says what it waits for").with("Retry-After", "2")
	case errors.Is(err, instances.ErrUnreachable):
		return problem(http.StatusServiceUnavailable, "unreachable", "The cluster's store cannot be reached",
			"this node cannot reach a majority of the others, so it is not known whether this was done: try again, it is done once").with("Retry-After", "5")
	case errors.Is(err, instances.ErrNoSignals):
		return problem(http.StatusUnprocessableEntity, "no-signals", "No signals", "instances of this type take no signals")
	case errors.Is(err, instances.ErrClosed):
		return problem(http.StatusServiceUnavailable, "stopping", "The server stops", "try again when it is back").with("Retry-After", "2")
	case errors.Is(err, history.ErrNotStored):
		return problem(http.StatusServiceUnavailable, "not-stored", "The message is not stored",
			"the topic has a durable history, and its store says: %s", reasonIn(err, history.ErrNotStored)).with("Retry-After", "5")
	case errors.Is(err, history.ErrNotErased):
		return problem(http.StatusServiceUnavailable, "not-erased", "The messages are not erased",
			"the store of the durable history says: %s; try again", reasonIn(err, history.ErrNotErased)).with("Retry-After", "5")
	case errors.Is(err, channels.ErrOverloaded):
		return problem(http.StatusTooManyRequests, "overloaded", "The instance is overloaded",
			"more is broadcast in it than can be sent: send less, or to fewer").with("Retry-After", "1")
	case errors.Is(err, channels.ErrTarget):
		return invalid(fielderr.New("/user", "or socket_id or socket is needed, and only one of them"))
	case errors.Is(err, channels.ErrNotObject):
		return invalid(fielderr.New("/payload", "must be a JSON object: Phoenix's clients take nothing else"))
	}
	return problem(http.StatusInternalServerError, "internal", "Internal error", "the server's log says what failed")
}

// reasonIn returns what an error says behind one that it wraps.
func reasonIn(err, wrapped error) string {
	_, reason, _ := strings.Cut(err.Error(), wrapped.Error())
	return strings.TrimLeft(reason, ": ")
}

// refuse answers with a problem.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p := problemFor(err)
	level := zerolog.DebugLevel
	switch {
	case r.Context().Err() != nil: // who has asked has gone
	case p.Status >= http.StatusInternalServerError:
		level = zerolog.ErrorLevel
	case p.Status == http.StatusUnauthorized || p.Status == http.StatusForbidden:
		level = zerolog.WarnLevel
	}
	a.log.Line(level, "request refused").Err(err).Str("method", r.Method).Str("path", r.URL.Path).Str("peer", r.RemoteAddr).Int("status", p.Status).Write()
	for name, values := range p.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", problemMediaType)
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(p) //nolint:errcheck // the caller may be gone
}
