package httpapi

import (
	"net/http"
	"slices"

	"github.com/mycelium-rt/mycelium/internal/bearer"
)

// caller is who sent a request: the owner of a key. Nothing else gives rights:
// no address, no Host, and no field that is missing.
type caller struct {
	key *Key
}

// anybody is a caller without a key. It has no scope but public.
var anybody = caller{key: &Key{Name: "anybody"}}

const challenge = `Bearer realm="mycelium"`

// authenticate finds out who sent a request. What another node forwards, it has
// permitted: its keys may be others. A caller without a key is anybody, if the
// request is for something public.
func (a *API) authenticate(r *http.Request, public bool) (caller, error) {
	if a.options.Caller != nil {
		if name := a.options.Caller(r); name != "" {
			return caller{key: &Key{Name: name, Scopes: []Scope{Admin}}}, nil
		}
	}
	secret, ok := bearer.Token(r)
	if !ok {
		if public {
			return anybody, nil
		}
		return caller{}, problem(http.StatusUnauthorized, "unauthorized", "A key is needed",
			"send an API key as \"Authorization: Bearer mk_…\"; %s", a.options.KeyHint).with("WWW-Authenticate", challenge)
	}
	key := a.lookup(secret)
	if key == nil {
		return caller{}, problem(http.StatusUnauthorized, "unauthorized", "A key is needed",
			"this server does not know this API key; %s", a.options.KeyHint).with("WWW-Authenticate", challenge+`, error="invalid_token"`)
	}
	return caller{key: key}, nil
}

// Allow authorizes a request for a scope of all instances, and returns the ID
// of its key. A response that lasts, such as a WebSocket, should end when
// [API.Holds] returns false for that ID. The error is a *Problem.
func (a *API) Allow(r *http.Request, s Scope) (keyID string, err error) {
	who, err := a.authenticate(r, false)
	if err != nil {
		return "", err
	}
	if len(who.key.Instances) > 0 {
		return "", problem(http.StatusForbidden, "instance", "Not with this key", "this takes a key for all instances")
	}
	return who.key.Hash, who.authorize(s, "")
}

// Holds reports whether the key with an ID returned by [API.Allow], of this API
// or of an earlier one, still permits a scope of all instances.
func (a *API) Holds(keyID string, s Scope) bool {
	return slices.ContainsFunc(a.keys, func(k Key) bool { return k.Hash == keyID && len(k.Instances) == 0 && k.allows(s) })
}

// authorize decides whether the caller may do something, to an instance or, with
// id "", to none in particular.
func (c caller) authorize(s Scope, id string) error {
	if !c.key.allows(s) {
		return problem(http.StatusForbidden, "scope", "Not with this key", "this takes a key with scope %s", s)
	}
	if id != "" && !c.key.sees(id) {
		return problem(http.StatusForbidden, "instance", "Not with this key", "this key is not for instance %q", id)
	}
	return nil
}

// sees reports whether the caller may know of an instance.
func (c caller) sees(id string) bool { return c.key.sees(id) }
