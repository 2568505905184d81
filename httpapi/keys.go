package httpapi

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Scope is what a key permits. The zero Scope is permitted to no key.
type Scope string

// The scopes of keys. Each permits only what it names, except for Admin.
const (
	Read    Scope = "read"    // look at instances
	Publish Scope = "publish" // broadcast, push, subscribe, leave, disconnect, signal
	Admin   Scope = "admin"   // create, change, drain and delete, and everything else
)

// public is the scope of operations that need no key. No key has it.
const public Scope = "public"

// Key is an API key as the server stores it: with the hash of its secret.
type Key struct {
	// Name is the name of the key in logs.
	Name string `json:"name"`
	// Hash is "sha256:" and the SHA-256 of the secret in hexadecimal. A secret
	// is 256 random bits, which cannot be guessed, so a slow hash for passwords
	// would only cost time.
	Hash string `json:"hash"`
	// Scopes are the scopes that the key permits.
	Scopes []Scope `json:"scopes"`
	// Instances are patterns of the ids that the key is for; none means all.
	// They are patterns of [path.Match], not of topics: a * may be anywhere, as
	// in "chat-*".
	Instances []string `json:"instances,omitempty"`

	sum []byte
}

const (
	keyPrefix  = "mk_" // so that a key that leaks is found by those who look for keys
	hashPrefix = "sha256:"
)

// NewKey returns a new secret and the Key that a server stores for it.
func NewKey(name string, scopes []Scope, ids []string) (secret string, k Key) {
	secret = keyPrefix + rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(secret))
	return secret, Key{Name: name, Hash: hashPrefix + hex.EncodeToString(sum[:]), Scopes: scopes, Instances: ids}
}

// Validate returns an error that says what is wrong with the key, or nil.
func (k *Key) Validate() error {
	if k.Name == "" {
		return errors.New("an API key needs a name")
	}
	text, ok := strings.CutPrefix(k.Hash, hashPrefix)
	sum, err := hex.DecodeString(text)
	if !ok || err != nil || len(sum) != sha256.Size {
		return fmt.Errorf("API key %q: hash must be %q and 64 hexadecimal digits, as \"mycelium key new\" prints it", k.Name, hashPrefix)
	}
	k.sum = sum
	if len(k.Scopes) == 0 {
		return fmt.Errorf("API key %q has no scopes; the scopes are read, publish and admin", k.Name)
	}
	for _, s := range k.Scopes {
		if s != Read && s != Publish && s != Admin {
			return fmt.Errorf("API key %q: unknown scope %q; the scopes are read, publish and admin", k.Name, s)
		}
	}
	for _, pattern := range k.Instances {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("API key %q: %q is not a pattern of ids: write it like \"chat-*\"", k.Name, pattern)
		}
	}
	return nil
}

// sees reports whether the key is for an instance.
func (k *Key) sees(id string) bool {
	return len(k.Instances) == 0 || slices.ContainsFunc(k.Instances, func(pattern string) bool {
		ok, _ := path.Match(pattern, id)
		return ok
	})
}

func (k *Key) allows(s Scope) bool {
	if s == "" {
		return false
	}
	return s == public || slices.Contains(k.Scopes, s) || slices.Contains(k.Scopes, Admin)
}

// lookup finds the key that a secret is of. All hashes are compared, each in
// constant time: how long it takes says nothing of a key.
func (a *API) lookup(secret string) *Key {
	sum := sha256.Sum256([]byte(secret))
	var found *Key
	for i := range a.keys {
		if subtle.ConstantTimeCompare(sum[:], a.keys[i].sum) == 1 {
			found = &a.keys[i]
		}
	}
	return found
}
