package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/internal/strictjson"
)

// readBody reads the body, which must be of one of the content types.
func (r *request) readBody(types []string, control *http.ResponseController) error {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || !slices.Contains(types, kind) {
		return problem(http.StatusUnsupportedMediaType, "media-type", "Unsupported media type",
			"send the body as Content-Type: %s", types[0]).with("Accept", strings.Join(types, ", "))
	}
	if r.body, err = io.ReadAll(r.Body); err == nil {
		control.SetReadDeadline(time.Time{}) //nolint:errcheck // a server that has none
	}
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return problem(http.StatusRequestEntityTooLarge, "too-large", "Too large", "the body may have at most %d bytes", large.Limit)
	case err != nil:
		return problem(http.StatusBadRequest, "body", "The body did not arrive", "send it again")
	}
	return nil
}

const jsonType = "application/json"

// decode decodes the body, a JSON object, into into. It refuses fields that into
// does not have.
func (r *request) decode(into any) error { return decodeStrict(r.body, into) }

// decodeStrict decodes one JSON object. Errors name the field.
func decodeStrict(body []byte, into any) error {
	err := strictjson.Decode(body, into)
	var malformed *strictjson.MalformedError
	if errors.As(err, &malformed) {
		return problem(http.StatusBadRequest, "malformed", "Malformed JSON", "the body %s", malformed.Reason)
	}
	return err
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

// readRevision reads If-Match, if headers have it: one revision, or * for whatever it
// is. An empty If-Match is a mistake, not the lack of one.
func (r *request) readRevision(headers []parameter) error {
	r.revision = instances.AnyRevision
	i := slices.IndexFunc(headers, func(p parameter) bool { return p.name == "If-Match" })
	if i < 0 {
		return nil
	}
	if len(r.Header.Values("If-Match")) == 0 {
		if headers[i].required {
			return problem(http.StatusPreconditionRequired, "if-match", "If-Match is needed",
				"send the revision that you have seen as If-Match, from the ETag of a GET; * for whatever it is")
		}
		return nil
	}
	text := strings.TrimSpace(r.Header.Get("If-Match"))
	if text == "*" {
		return nil
	}
	revision, err := strconv.ParseUint(strings.Trim(text, `"`), 10, 64)
	if err != nil || revision == instances.AnyRevision {
		return problem(http.StatusBadRequest, "if-match", "Malformed If-Match", "If-Match must be a revision like %q, or *", `"3"`)
	}
	r.revision = revision
	return nil
}

func etag(revision uint64) string { return `"` + strconv.FormatUint(revision, 10) + `"` }
