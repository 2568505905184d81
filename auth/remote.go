package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// maxKeyWait bounds how long a token waits for keys that are being fetched.
const maxKeyWait = 5 * time.Second

// firstRetry is how soon a server that has failed is asked again. The time
// doubles with each further failure, up to JWKS.Refresh.
const firstRetry = time.Second

// remoteKeys are the keys of JWKS servers, which are fetched in the background.
type remoteKeys struct {
	// Static after construction.
	algorithms []string
	servers    []*jwksServer
	client     *http.Client
	ctx        context.Context // ends with close
	stop       context.CancelFunc

	mu      sync.Mutex
	changed chan struct{} // closed at the end of each fetch, and replaced; guarded by mu
}

// jwksServer is one JWKS server.
type jwksServer struct {
	// Static after construction.
	all     *remoteKeys
	url     string
	options JWKS
	log     zerolog.Logger
	wanted  chan struct{} // wakes run to fetch

	keys atomic.Pointer[[]publishedKey] // nil until the server has answered

	// Guarded by remoteKeys.mu.
	fetching   bool      // a fetch is under way, or run has been woken for one
	nextWanted time.Time // when an unknown key may cause the next fetch

	// Owned by run.
	skipped []string // unusable keys of the last answer
}

// newRemoteKeys starts fetching the keys and does not wait for them. close
// stops it.
func newRemoteKeys(o JWKS, log zerolog.Logger) *remoteKeys {
	o = o.withDefaults()
	r := &remoteKeys{algorithms: o.Algorithms, client: o.client(), changed: make(chan struct{})}
	r.ctx, r.stop = context.WithCancel(context.Background())
	for _, u := range o.URLs {
		s := &jwksServer{
			all: r, url: u, options: o, fetching: true, wanted: make(chan struct{}, 1),
			log: log.With().Str("jwks", shownURL(u)).Logger(),
		}
		r.servers = append(r.servers, s)
		go s.run(r.ctx)
	}
	return r
}

// close stops all fetches.
func (r *remoteKeys) close() {
	r.stop()
	r.client.CloseIdleConnections()
}

// find returns the keys that may have signed a token of an algorithm; id is its
// kid, empty if it has none. If no key matches, it waits for a fetch, which it
// asks for if none is in progress. refusal is not nil if the keys of a server
// are not known yet, so that the token can be neither accepted nor rejected.
func (r *remoteKeys) find(ctx context.Context, id, algorithm string) (found []any, refusal *RefusedError) {
	if found = r.known(id, algorithm); len(found) > 0 {
		return found, nil
	}
	r.want()
	ctx, cancel := context.WithTimeout(ctx, maxKeyWait)
	defer cancel()
	for {
		changed, fetching := r.state()
		if found = r.known(id, algorithm); len(found) > 0 {
			return found, nil
		}
		if !fetching || ctx.Err() != nil {
			return nil, r.incomplete()
		}
		select {
		case <-changed:
		case <-ctx.Done():
		case <-r.ctx.Done():
			return nil, r.incomplete()
		}
	}
}

// known returns the keys that have been fetched and match.
func (r *remoteKeys) known(id, algorithm string) (found []any) {
	for _, s := range r.servers {
		keys := s.keys.Load()
		if keys == nil {
			continue
		}
		for i := range *keys {
			if k := &(*keys)[i]; k.matches(id, algorithm) {
				found = append(found, k.key)
			}
		}
	}
	return found
}

// incomplete returns a refusal if some server has never answered.
func (r *remoteKeys) incomplete() *RefusedError {
	for _, s := range r.servers {
		if s.keys.Load() == nil {
			return refused(NoKeys, "no answer yet from "+shownURL(s.url))
		}
	}
	return nil
}

// want asks for a fetch from each server that is not being asked already, as
// far as JWKS.UnknownKey permits.
func (r *remoteKeys) want() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for _, s := range r.servers {
		if s.fetching || now.Before(s.nextWanted) {
			continue
		}
		s.fetching, s.nextWanted = true, now.Add(time.Duration(s.options.UnknownKey))
		s.wanted <- struct{}{}
	}
}

func (r *remoteKeys) state() (changed <-chan struct{}, fetching bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed, slices.ContainsFunc(r.servers, func(s *jwksServer) bool { return s.fetching })
}

// run fetches the keys of a server until ctx is done.
func (s *jwksServer) run(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		err := s.fetch(ctx)
		s.endFetch()
		pause := time.Duration(s.options.Refresh)
		if err == nil {
			failures = 0
		} else if ctx.Err() == nil {
			s.log.Warn().Err(err).Msg("keys cannot be fetched: those that were fetched before stay valid")
			pause = min(pause, firstRetry<<min(failures, 16))
			failures++
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
			s.beginFetch()
		case <-s.wanted:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

func (s *jwksServer) beginFetch() {
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	s.fetching = true
	select {
	case <-s.wanted: // wanted at the same moment: one fetch is enough
	default:
	}
}

// endFetch wakes everything that waits for a fetch.
func (s *jwksServer) endFetch() {
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	s.fetching = false
	close(s.all.changed)
	s.all.changed = make(chan struct{})
}

// fetch sends one request, and replaces the keys if the server answers.
func (s *jwksServer) fetch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.options.Timeout))
	defer cancel()
	text, err := s.get(ctx)
	if err != nil {
		return err
	}
	keys, skipped, err := parseKeys(text)
	if err != nil {
		return err
	}
	s.keys.Store(&keys)
	s.logSkipped(skipped)
	return nil
}

func (s *jwksServer) get(ctx context.Context) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, errors.New("the address cannot be used") // the original error contains it in full
	}
	answer, err := s.all.client.Do(r)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err // without the address
		}
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answered with status %d", answer.StatusCode)
	}
	return io.ReadAll(answer.Body)
}

// maxSkippedLines bounds the log lines about one answer.
const maxSkippedLines = 10

// logSkipped logs the unusable keys, unless they were in the previous answer.
func (s *jwksServer) logSkipped(skipped []string) {
	var others []string
	for _, line := range skipped {
		if !slices.Contains(s.skipped, line) {
			others = append(others, line)
		}
	}
	s.skipped = skipped
	for i, line := range others {
		if i == maxSkippedLines {
			s.log.Info().Int("keys", len(others)-i).Msg("further keys of the JWKS are skipped")
			return
		}
		name, reason, _ := strings.Cut(line, ": ")
		s.log.Info().Str("key", name).Str("reason", reason).Msg("a key of the JWKS is skipped")
	}
}
