package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/mycelium-rt/mycelium/instances"
)

// read returns the body of a request, which must be of one of the content types.
func (r *request) read(types ...string) ([]byte, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || !slices.Contains(types, kind) {
		return nil, problem(http.StatusUnsupportedMediaType, "media-type", "Unsupported media type",
			"send the body as Content-Type: %s", types[0]).with("Accept", strings.Join(types, ", "))
	}
	body, err := io.ReadAll(r.Body)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, problem(http.StatusRequestEntityTooLarge, "too-large", "Too large", "the body may have at most %d bytes", large.Limit)
	case err != nil:
		return nil, problem(http.StatusBadRequest, "body", "The body did not arrive", "send it again")
	}
	return body, nil
}

const jsonType = "application/json"

// decode reads a JSON object into into, and refuses fields that it has not.
func (r *request) decode(into any) error {
	body, err := r.read(jsonType)
	if err != nil {
		return err
	}
	return decodeStrict(body, into)
}

// decodeStrict decodes one JSON object. Errors name the field.
func decodeStrict(body []byte, into any) error {
	if first := bytes.TrimLeft(body, " \t\r\n"); len(first) == 0 || first[0] != '{' {
		return malformed("the body must be a JSON object")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return decodeProblem(err, culprit(body, into))
	}
	if _, err := d.Token(); err != io.EOF {
		return malformed("the body must be one JSON object, with nothing behind it")
	}
	return nil
}

func malformed(format string, args ...any) *Problem {
	return problem(http.StatusBadRequest, "malformed", "Malformed JSON", format, args...)
}

// culprit returns the first member of a body that does not decode by itself,
// because not every error of encoding/json says where it was.
func culprit(body []byte, into any) string {
	var members map[string]json.RawMessage
	if json.Unmarshal(body, &members) != nil {
		return ""
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		alone, err := json.Marshal(map[string]json.RawMessage{name: members[name]})
		if err != nil {
			continue // it is valid JSON
		}
		d := json.NewDecoder(bytes.NewReader(alone))
		d.DisallowUnknownFields()
		if d.Decode(reflect.New(reflect.TypeOf(into).Elem()).Interface()) != nil {
			return name
		}
	}
	return ""
}

// decodeProblem says what is wrong with a body; member is where.
func decodeProblem(err error, member string) *Problem {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	unknown, isUnknown := strings.CutPrefix(err.Error(), "json: unknown field ")
	switch {
	case errors.As(err, &syntax):
		return malformed("at byte %d: %v", syntax.Offset, syntax)
	case errors.As(err, &kind):
		return invalidField("/"+strings.ReplaceAll(kind.Field, ".", "/"), "is a JSON %s, which does not fit", kind.Value)
	case isUnknown:
		name, _ := strconv.Unquote(unknown)
		if name != member {
			name = member + "/" + name
		}
		return invalidField("/"+name, "is no field of this request")
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return malformed("the body ends in the middle")
	}
	return invalidField("/"+member, "%v", err)
}

// answer writes a JSON body.
func answer(w http.ResponseWriter, status int, body any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(body); err != nil {
		return err
	}
	w.Header().Set("Content-Type", jsonType)
	w.WriteHeader(status)
	w.Write(b.Bytes()) //nolint:errcheck // the caller may be gone
	return nil
}

// hasRevision tells that the caller has said for which revision a change is
// meant; an empty If-Match is a mistake, not the lack of one.
func (r *request) hasRevision() bool { return len(r.Header.Values("If-Match")) > 0 }

// revisionOf reads If-Match: one revision, or * for whatever it is.
func (r *request) revisionOf() (uint64, error) {
	text := strings.TrimSpace(r.Header.Get("If-Match"))
	if text == "*" {
		return instances.AnyRevision, nil
	}
	revision, err := strconv.ParseUint(strings.Trim(text, `"`), 10, 64)
	if err != nil || revision == instances.AnyRevision {
		return 0, problem(http.StatusBadRequest, "if-match", "Malformed If-Match", "If-Match must be a revision like %q, or *", `"3"`)
	}
	return revision, nil
}

func etag(revision uint64) string { return `"` + strconv.FormatUint(revision, 10) + `"` }
