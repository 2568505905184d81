package httpapi

import "net/http"

func (a *API) document(http.ResponseWriter, *request) error { return nil }
