package auth

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
)

// Revocation is tokens that are refused although they are valid: one, or those of a
// user. A socket whose token is revoked is closed.
type Revocation struct {
	// ID is the jti of the token; empty if User is set.
	ID string `json:"jti,omitempty"`
	// User is the sub of the tokens; empty if ID is set.
	User string `json:"user,omitempty"`
	// IssuedBefore is when the user's tokens that are still valid were issued (iat) at
	// the earliest. A token without iat counts as older.
	IssuedBefore time.Time `json:"issued_before,omitzero"`
	// Expires is when the revocation ends. The tokens must have expired by then.
	Expires time.Time `json:"expires"`
}

// key identifies a revocation in its space: an id and a user may be equal.
func (r *Revocation) key() string {
	if r.ID != "" {
		return "jti:" + r.ID
	}
	return "user:" + r.User
}

// merge returns what two revocations with the same key amount to.
func (r Revocation) merge(o Revocation) Revocation {
	r.IssuedBefore = later(r.IssuedBefore, o.IssuedBefore)
	r.Expires = later(r.Expires, o.Expires)
	return r
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// SpacedRevocation is a revocation with its space, as it is stored and replicated.
type SpacedRevocation struct {
	Space string `json:"space"`
	Revocation
}

// RevocationOptions configure [Revocations].
type RevocationOptions struct {
	// File keeps the revocations over a restart. "" keeps them in memory.
	File string
	// Max bounds how many there are; those of the file stay even if they are more. Default 100,000.
	Max int
	// Changed is called, on a goroutine of its own, after tokens of spaces were revoked:
	// sockets whose token is [Revoked] should be closed. It may be nil.
	Changed func(spaces []string)
	// Failed is called when the file cannot be written. It may be nil.
	Failed func(error)
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// Revocations are the revocations of any number of spaces, usually one for each
// endpoint: see [Verifier.With]. Its methods are safe from any goroutine.
type Revocations struct {
	options RevocationOptions // static
	file    *revocationFile   // static; nil: there is none

	ended   sync.WaitGroup
	closing sync.Once
	closed  chan struct{}
	changed chan struct{} // has room for one: there is something in changes

	// Guarded by mu.
	mu      sync.RWMutex
	spaces  map[string]map[string]held // by space and key
	count   int
	swept   time.Time                // when those that have ended were last removed
	share   func([]SpacedRevocation) // nil: this is a single node
	changes []string                 // spaces for Options.Changed
}

// held is a revocation, and the node that this one has it from: 0 is this node.
type held struct {
	Revocation
	from uint64
}

const (
	// defaultRevocations takes about 20 MB.
	defaultRevocations = 100_000
	// sweepEvery is how often revocations that have ended are looked for.
	sweepEvery = time.Minute
	// maxRevoked bounds an id and a user in bytes.
	maxRevoked = 1024
)

// Errors of [Revocations.Revoke].
var (
	// ErrRevocations is returned when there are as many revocations as
	// RevocationOptions.Max permits.
	ErrRevocations = errors.New("auth: as many tokens are revoked as may be at a time")
	// ErrRevocation is returned for a revocation that has not one of ID and User, or
	// has ended.
	ErrRevocation = errors.New("auth: a revocation must have one of id and user, of at most 1,024 bytes, and end in the future")
)

// OpenRevocations returns the revocations in a file, or none.
func OpenRevocations(o RevocationOptions) (*Revocations, error) {
	o.Max = cmp.Or(o.Max, defaultRevocations)
	if o.Now == nil {
		o.Now = time.Now
	}
	r := &Revocations{options: o, spaces: make(map[string]map[string]held), changed: make(chan struct{}, 1), closed: make(chan struct{})}
	if o.File != "" {
		file, kept, err := openRevocationFile(o.File, o.Now())
		if err != nil {
			return nil, fmt.Errorf("auth: %w", err)
		}
		r.file = file
		r.merge(kept, 0, math.MaxInt) // Max may have been larger: none of these tokens may be accepted again
	}
	r.ended.Go(r.tell)
	return r, nil
}

// Close closes the file. A second Close does nothing.
func (r *Revocations) Close() error {
	first := false
	r.closing.Do(func() { close(r.closed); first = true })
	if !first {
		return nil
	}
	r.ended.Wait()
	if r.file == nil {
		return nil
	}
	return r.file.close()
}

// Share has share called with what this node revokes, for the other nodes of a cluster,
// and now with all there is. share must not block.
func (r *Revocations) Share(share func([]SpacedRevocation)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.share = share
	if all := r.allLocked(); len(all) > 0 {
		share(all)
	}
}

// Revoke revokes tokens of a space. It returns what is revoked now, which is more if the
// id or the user was revoked before. When it returns without an error, the revocation is
// in the file, if there is one, and on its way to the other nodes.
func (r *Revocations) Revoke(space string, v Revocation) (Revocation, error) {
	switch {
	case (v.ID == "") == (v.User == "") || len(v.ID)+len(v.User) > maxRevoked || !v.Expires.After(r.options.Now()):
		return v, ErrRevocation
	case v.ID != "":
		v.IssuedBefore = time.Time{}
	}
	v.IssuedBefore, v.Expires = storable(v.IssuedBefore), storable(v.Expires)
	r.mu.Lock()
	r.sweepLocked(r.count >= r.options.Max)
	if old, ok := r.spaces[space][v.key()]; ok {
		v = v.merge(old.Revocation)
	} else if r.count >= r.options.Max {
		r.mu.Unlock()
		return v, ErrRevocations
	}
	r.putLocked(space, v, 0)
	one := []SpacedRevocation{{space, v}}
	if r.share != nil {
		r.share(one)
	}
	r.announceLocked(space)
	r.mu.Unlock()
	if r.file == nil {
		return v, nil
	}
	return v, r.file.write(one)
}

// JSON has times of these years only.
var firstTime, lastTime = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// storable returns a time as it is stored: in UTC, to the millisecond, and the nearest that
// can be written as JSON. A time that was read from JSON may be out of range in UTC.
func storable(t time.Time) time.Time {
	switch t = t.UTC().Truncate(time.Millisecond); {
	case t.Before(firstTime):
		return firstTime
	case t.After(lastTime):
		return lastTime
	}
	return t
}

// Learn takes in what another node, named from, has revoked.
func (r *Revocations) Learn(from uint64, list []SpacedRevocation) {
	// Both halves of a cluster that was split may have filled theirs, so there is room for twice as many.
	news := r.merge(list, from, 2*r.options.Max)
	if r.file == nil || len(news) == 0 {
		return
	}
	r.ended.Go(func() { // the caller must not wait for the disk
		if err := r.file.write(news); err != nil && r.options.Failed != nil {
			r.options.Failed(err)
		}
	})
}

// merge adds revocations, new ones as long as there are fewer than most, and returns those that have changed something.
func (r *Revocations) merge(list []SpacedRevocation, from uint64, most int) (news []SpacedRevocation) {
	now := r.options.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweepLocked(false)
	for _, v := range list {
		old, known := r.spaces[v.Space][v.key()]
		merged := v.Revocation
		if known {
			merged = v.merge(old.Revocation)
		}
		if v.Expires.Before(now) || !known && r.count >= most {
			continue
		}
		r.putLocked(v.Space, merged, from)
		if merged != old.Revocation {
			news = append(news, SpacedRevocation{v.Space, merged})
			r.announceLocked(v.Space)
		}
	}
	return news
}

func (r *Revocations) putLocked(space string, v Revocation, from uint64) {
	in := r.spaces[space]
	if in == nil {
		in = make(map[string]held)
		r.spaces[space] = in
	}
	key := v.key()
	if _, known := in[key]; !known {
		r.count++
	}
	in[key] = held{v, from}
}

// sweepLocked removes what has ended.
func (r *Revocations) sweepLocked(now bool) {
	at := r.options.Now()
	if !now && at.Sub(r.swept) < sweepEvery {
		return
	}
	r.swept = at
	for space, in := range r.spaces {
		maps.DeleteFunc(in, func(_ string, v held) bool {
			ended := !v.Expires.After(at)
			if ended {
				r.count--
			}
			return ended
		})
		if len(in) == 0 {
			delete(r.spaces, space)
		}
	}
}

// Adopt has what this node has from another, which is gone, told to the others as this
// node's: one that was cut off may have missed it.
func (r *Revocations) Adopt(from uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []SpacedRevocation
	for space, in := range r.spaces {
		for key, v := range in {
			if v.from == from {
				v.from = 0
				in[key] = v
				list = append(list, SpacedRevocation{space, v.Revocation})
			}
		}
	}
	if r.share != nil && len(list) > 0 {
		r.share(list)
	}
}

// All returns all revocations, in no order.
func (r *Revocations) All() []SpacedRevocation {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.allLocked()
}

func (r *Revocations) allLocked() (all []SpacedRevocation) {
	now := r.options.Now()
	for space, in := range r.spaces {
		for _, v := range in {
			if v.Expires.After(now) {
				all = append(all, SpacedRevocation{space, v.Revocation})
			}
		}
	}
	return all
}

// List returns a page of the revocations of a space: at most limit, in order, and after
// the one that next of the page before names. next is empty after the last.
func (r *Revocations) List(space, after string, limit int) (page []Revocation, next string) {
	now := r.options.Now()
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, v := range r.spaces[space] {
		if v.Expires.After(now) && v.key() > after {
			page = append(page, v.Revocation)
		}
	}
	slices.SortFunc(page, func(a, b Revocation) int { return strings.Compare(a.key(), b.key()) })
	if len(page) > limit {
		page = page[:limit]
		next = page[limit-1].key()
	}
	return page, next
}

// covers reports whether a token is revoked in a space.
func (r *Revocations) covers(space string, g *grant) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	in := r.spaces[space]
	if len(in) == 0 {
		return false
	}
	now := r.options.Now()
	if id, ok := g.claims.Text("jti"); ok {
		if v, ok := in["jti:"+id]; ok && v.Expires.After(now) {
			return true
		}
	}
	return r.coversUserLocked(space, g.subject, issuedAt(g.claims))
}

// CoversUser reports whether the tokens of a user that were issued at a time are
// revoked in a space.
func (r *Revocations) CoversUser(space, user string, issued time.Time) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.coversUserLocked(space, user, issued.UnixMilli())
}

// coversUserLocked is CoversUser, with a time in Unix milliseconds.
func (r *Revocations) coversUserLocked(space, user string, issued int64) bool {
	in := r.spaces[space]
	if len(in) == 0 {
		return false
	}
	v, ok := in["user:"+user]
	return ok && v.Expires.After(r.options.Now()) && issued < v.IssuedBefore.UnixMilli()
}

// announceLocked has Options.Changed called.
func (r *Revocations) announceLocked(space string) {
	if !slices.Contains(r.changes, space) {
		r.changes = append(r.changes, space)
	}
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// tell calls Options.Changed, with all spaces that have gathered meanwhile.
func (r *Revocations) tell() {
	for {
		select {
		case <-r.closed:
			return
		case <-r.changed:
		}
		r.mu.Lock()
		spaces := r.changes
		r.changes = nil
		r.mu.Unlock()
		if r.options.Changed != nil && len(spaces) > 0 {
			r.options.Changed(spaces)
		}
	}
}

// issuedAt returns the iat of claims in Unix milliseconds, 0 without one.
func issuedAt(c Claims) int64 {
	n, ok := c["iat"].(json.Number)
	if !ok {
		return 0
	}
	seconds, err := n.Float64()
	if err != nil || seconds < 0 || seconds > maxExpiry {
		return 0
	}
	return int64(seconds * 1000)
}

// With returns a verifier like v that also refuses the tokens which are revoked in a
// space of r. They share keys, and are closed together.
func (v *Verifier) With(r *Revocations, space string) *Verifier {
	w := *v
	w.revocations, w.space = r, space
	return &w
}

// revokes reports whether a token is revoked.
func (v *Verifier) revokes(g *grant) bool {
	return v.revocations != nil && v.revocations.covers(v.space, g)
}

// CloseRevoked is the WebSocket close code of a socket whose token was revoked: policy
// violation, as for one that has expired.
const CloseRevoked = 1008

// Revoked reports whether the token of a socket that a Verifier has admitted has been
// revoked since.
func Revoked(s *channels.Socket) bool {
	session, ok := s.Guard().(*session)
	return ok && session.verifier.revokes(session.grant.Load())
}
