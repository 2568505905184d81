package httpapi

import (
	_ "embed"
	"net/http"
)

// openAPI is the document of the API. A test holds it and the routes together.
//
//go:embed openapi.json
var openAPI []byte

func (a *API) document(w http.ResponseWriter, _ *request) error {
	w.Header().Set("Content-Type", jsonType)
	w.Write(openAPI) //nolint:errcheck // the caller may be gone
	return nil
}
