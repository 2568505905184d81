package httpapi

import "testing"

// A route without a scope is open to nobody, whatever a key has.
func TestZeroScopeAllowsNobody(t *testing.T) {
	for _, k := range []Key{{}, {Scopes: []Scope{Read, Publish, Admin}}, {Scopes: []Scope{""}}} {
		if k.allows("") {
			t.Errorf("a key with scopes %q may use a route without a scope", k.Scopes)
		}
	}
}
