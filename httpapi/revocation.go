package httpapi

import (
	"errors"
	"net/http"
	"time"

	"github.com/mycelium-rt/mycelium/auth"
	"github.com/mycelium-rt/mycelium/fielderr"
)

// revocationRequest revokes a token by its id, or those of a user: one of jti and user must
// be given.
type revocationRequest struct {
	// ID is the claim jti of the token.
	ID *string `json:"jti" jsonschema:"minLength=1,maxLength=1024"`
	// User is the claim sub of the tokens.
	User *string `json:"user" jsonschema:"minLength=1,maxLength=1024"`
	// IssuedBefore is when the user's tokens that stay valid were issued at the earliest,
	// their claim iat. The default is now.
	IssuedBefore *time.Time `json:"issued_before"`
	// Expires is when the revocation may be forgotten, because the tokens have expired. The
	// default is in 30 days.
	Expires *time.Time `json:"expires"`
}

// Revocations is a page of the revocations of an instance.
type Revocations struct {
	Revocations []auth.Revocation `json:"revocations"`
	// Next is the query parameter "after" for the next page. The last page has none.
	Next string `json:"next,omitempty"`
}

const (
	// revokedFor is how long a revocation lasts that does not say.
	revokedFor = 30 * 24 * time.Hour
	// revokedAhead is how far the clock of a caller may be ahead.
	revokedAhead = time.Minute
)

// operationsOfRevocations revoke tokens.
func (a *API) operationsOfRevocations() []operation {
	const path = "/api/instances/{id}/revocations"
	return []operation{{
		method: "POST", path: path, scope: Publish, handle: a.revoke, body: jsonBody("RevocationRequest"),
		header: []parameter{idempotencyKey},
		id:     "revoke", summary: "Revoke a token, or those of a user that were issued before a time",
		about: "Sockets with such a token are closed, on all nodes, and it is refused until the revocation expires. Sockets of a user whom a back end has named before are closed too. " +
			"Revoking again extends a revocation; none is taken back.",
		answers: []answerDoc{{status: 200, about: "What is revoked now.", schema: ref("schemas", "Revocation"), headers: replayed}},
		fails:   []int{http.StatusConflict, http.StatusTooManyRequests},
	}, {
		method: "GET", path: path, scope: Read, handle: a.revocations,
		id: "listRevocations", summary: "A page of the revocations that have not expired",
		query:   []parameter{{name: "after", about: "The next of the page before.", schema: text("")}, limitParameter},
		answers: []answerDoc{{status: 200, about: "A page.", schema: ref("schemas", "Revocations")}},
		fails:   []int{http.StatusConflict},
	}}
}

var errNoTokens = problem(http.StatusConflict, "no-tokens", "No tokens", "this server cannot revoke tokens")

// revocation returns what a body revokes.
func (b *revocationRequest) revocation(now time.Time) (v auth.Revocation, err error) {
	for _, f := range []struct {
		pointer     string
		value, into *string
	}{{"/jti", b.ID, &v.ID}, {"/user", b.User, &v.User}} {
		if f.value == nil {
			continue
		}
		if *f.value == "" || len(*f.value) > maxTarget {
			return v, fielderr.New(f.pointer, "must be 1 to %d bytes", maxTarget)
		}
		*f.into = *f.value
	}
	switch {
	case (v.ID == "") == (v.User == ""):
		return v, fielderr.New("/user", "or jti is needed, and only one of them")
	case v.ID != "" && b.IssuedBefore != nil:
		return v, fielderr.New("/issued_before", "is for the tokens of a user: leave it out, or give user")
	case b.IssuedBefore != nil && b.IssuedBefore.After(now.Add(revokedAhead)):
		return v, fielderr.New("/issued_before", "is in the future: tokens that are issued until then could not be used")
	}
	v.Expires = now.Add(revokedFor)
	if b.Expires != nil {
		v.Expires = *b.Expires
	}
	if !v.Expires.After(now) {
		return v, fielderr.New("/expires", "must be in the future")
	}
	if v.User != "" {
		v.IssuedBefore = now
		if b.IssuedBefore != nil {
			v.IssuedBefore = *b.IssuedBefore
		}
	}
	return v, nil
}

// revoke revokes tokens of an instance. Any node can do it: all nodes are told.
func (a *API) revoke(w http.ResponseWriter, r *request) error {
	var body revocationRequest
	if err := r.decode(&body); err != nil {
		return err
	}
	v, err := body.revocation(a.options.Now())
	if err != nil {
		return err
	}
	if _, err := a.manager.Get(r.id); err != nil {
		return err
	}
	if a.options.Revocations == nil {
		return errNoTokens
	}
	v, err = a.options.Revocations.Revoke(r.id, v)
	if errors.Is(err, auth.ErrRevocations) {
		return problem(http.StatusTooManyRequests, "revocations", "Too many revocations",
			"as many tokens are revoked as auth.max_revocations permits: raise it, revoke users rather than single tokens, or give expires")
	}
	if err != nil {
		return err
	}
	a.log.Info("tokens revoked").Str("by", r.who.key.Name).Str("instance", r.id).Str("jti", v.ID).Str("user", v.User).Write()
	return answer(w, http.StatusOK, v)
}

func (a *API) revocations(w http.ResponseWriter, r *request) error {
	limit, err := r.limit()
	if err != nil {
		return err
	}
	if _, err := a.manager.Get(r.id); err != nil {
		return err
	}
	page := Revocations{Revocations: []auth.Revocation{}}
	if a.options.Revocations == nil {
		return errNoTokens
	}
	list, next := a.options.Revocations.List(r.id, r.query.Get("after"), limit)
	page.Revocations, page.Next = append(page.Revocations, list...), next
	return answer(w, http.StatusOK, page)
}
