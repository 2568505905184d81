package auth

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mycelium-rt/mycelium/fielderr"
	"github.com/mycelium-rt/mycelium/internal/netguard"
	"github.com/mycelium-rt/mycelium/units"
)

// JWKS are servers of keys (RFC 7517), as identity providers run them.
type JWKS struct {
	// URLs are the addresses of the keys: https, or http on this machine.
	URLs []string `json:"urls" yaml:"urls"`
	// Algorithms are those that the keys may be used for. The default is all
	// that need no secret; a key that states its own alg is used only for that.
	Algorithms []string `json:"algorithms,omitempty" yaml:"algorithms,omitempty"`
	// Refresh is how often the keys are fetched. Default 15 m. While a server
	// fails, its last keys stay valid, and it is asked again sooner.
	Refresh units.Duration `json:"refresh,omitempty" yaml:"refresh,omitempty"`
	// UnknownKey is the shortest time between two fetches caused by tokens with
	// an unknown key. Default 30 s.
	UnknownKey units.Duration `json:"unknown_key,omitempty" yaml:"unknown_key,omitempty"`
	// Timeout bounds a fetch. Default 5 s, at most 1 m. A token waits for a fetch
	// for at most 5 s, whatever Timeout is.
	Timeout units.Duration `json:"timeout,omitempty" yaml:"timeout,omitempty"`
	// AllowHTTP permits URLs without TLS on other machines. Anybody on the
	// network path can then make tokens.
	AllowHTTP bool `json:"allow_http,omitempty" yaml:"allow_http,omitempty"`
	// PublicOnly refuses addresses that are not on the public internet. It is
	// for options that come from others, who must not make this program send
	// requests to machines that they cannot reach themselves. A proxy set in
	// the environment decides by itself what it reaches.
	PublicOnly bool `json:"-" yaml:"-"`
}

const (
	maxJWKSBytes = 1 << 20 // size of an answer
	maxJWKSURLs  = 16
	maxRedirects = 3
	maxTimeout   = units.Duration(time.Minute)
)

func (j JWKS) withDefaults() JWKS {
	setDefault(&j.Refresh, units.Duration(15*time.Minute))
	setDefault(&j.UnknownKey, units.Duration(30*time.Second))
	setDefault(&j.Timeout, units.Duration(5*time.Second))
	if len(j.Algorithms) == 0 {
		j.Algorithms = asymmetric
	}
	return j
}

func (j JWKS) check() (wrong fielderr.List) {
	if len(j.URLs) == 0 || len(j.URLs) > maxJWKSURLs {
		wrong.Add("/urls", "has %d: it must have from 1 to %d", len(j.URLs), maxJWKSURLs)
	}
	for i, s := range j.URLs {
		u, err := url.Parse(s)
		switch {
		case strings.Contains(s, hidden):
			wrong.Add(fmt.Sprintf("/urls/%d", i), "has %s, which only replaces a secret for display: write the secret itself", hidden)
		case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
			wrong.Add(fmt.Sprintf("/urls/%d", i), "is not an address like \"https://example.com/.well-known/jwks.json\"")
		case j.PublicOnly && netguard.NamesPrivate(u.Hostname()):
			wrong.Add(fmt.Sprintf("/urls/%d", i), "is an address of this machine or of a private network: it must be on the internet")
		case !j.trusts(u):
			wrong.Add(fmt.Sprintf("/urls/%d", i), "is http: it must be https, or allow_http must be true")
		}
	}
	for i, a := range j.Algorithms {
		if !slices.Contains(asymmetric, a) {
			wrong.Add(fmt.Sprintf("/algorithms/%d", i), "is %q: it must be one of %s", a, strings.Join(asymmetric, ", "))
		}
	}
	for _, d := range []struct {
		field string
		value units.Duration
	}{{"/refresh", j.Refresh}, {"/unknown_key", j.UnknownKey}, {"/timeout", j.Timeout}} {
		if d.value < 0 {
			wrong.Add(d.field, "is negative: leave it out for its default")
		}
	}
	if j.Timeout > maxTimeout {
		wrong.Add("/timeout", "is %s: it must be at most %s", j.Timeout, maxTimeout)
	}
	return wrong
}

// trusts reports whether answers from u cannot be changed on the way.
func (j JWKS) trusts(u *url.URL) bool {
	return u.Scheme == "https" || j.AllowHTTP || netguard.IsLoopback(u.Hostname())
}

// shownURL returns an address for logs: without the password and the query,
// which may be secrets.
func shownURL(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "jwks"
	}
	return u.Scheme + "://" + u.Host + u.Path
}

// redactURL hides the password and the values of the query of an address.
func redactURL(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return hidden
	}
	user := u.User
	u.User = nil
	var query []string
	if u.RawQuery != "" {
		for part := range strings.SplitSeq(u.RawQuery, "&") {
			name, _, _ := strings.Cut(part, "=")
			query = append(query, name+"="+hidden)
		}
	}
	u.RawQuery, u.Fragment, u.RawFragment = strings.Join(query, "&"), "", ""
	if user == nil {
		return u.String()
	}
	name := url.User(user.Username()).String()
	if _, ok := user.Password(); ok {
		name += ":" + hidden
	}
	return strings.Replace(u.String(), "://", "://"+name+"@", 1)
}
