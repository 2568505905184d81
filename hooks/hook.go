package hooks

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/mycelium-rt/mycelium/fielderr"
	"github.com/mycelium-rt/mycelium/internal/netguard"
	"github.com/mycelium-rt/mycelium/internal/topics"
	"github.com/mycelium-rt/mycelium/internal/webhook"
	"github.com/mycelium-rt/mycelium/units"
)

// What a back end decides, in [Hook].On.
const (
	Connect = "connect" // who may connect
	Join    = "join"    // who may join a topic
	Event   = "event"   // what happens to an event that a client pushes
	Refresh = "refresh" // whether a connection may go on when it expires
	Access  = "access"  // what a client may do in a private channel of Supabase's dialect
)

// decisions are the kinds of decisions, in the order of their indexes in the code.
var decisions = []string{Connect, Join, Event, Refresh, Access}

// Hook is a back end, and what it decides and is told. It is one element of the list hooks in a configuration or a spec.
type Hook struct {
	// Name names the hook in logs and metrics: 1 to 63 characters of a-z, 0-9 and "-", unique in its list. The
	// default is "hook-1" for the first of the list, "hook-2" for the second.
	Name string `json:"name,omitempty"`
	// URL is where requests are sent: https, or http.
	URL string `json:"url"`
	// Secret signs the requests: 24 to 64 random bytes in base64, with or without "whsec_" before them.
	Secret string `json:"secret,omitempty"`
	// SecretFile names a file with the secret, instead of Secret. A spec cannot have one.
	SecretFile string `json:"secret_file,omitempty"`
	// On lists what the back end decides, and what it is told.
	On []string `json:"on"`
	// Topics are patterns of the topics that the hook applies to. The default is all topics. They do not apply to
	// decisions and events about a whole connection.
	Topics []string `json:"topics,omitempty"`
	// Events are patterns of the events that the hook applies to. The default is all events.
	Events []string `json:"events,omitempty"`
	// Headers are the header fields of the client's handshake that requests include.
	Headers []string `json:"headers,omitempty"`
	// Timeout bounds how long a client waits for a decision. The default is 3 s, the maximum 30 s. A back end has at
	// least 10 s to take events.
	Timeout units.Duration `json:"timeout,omitempty"`
	// Concurrency bounds the requests in flight. The default is 100, the maximum 10,000. Eight times as many may wait.
	Concurrency int `json:"concurrency,omitempty"`
	// WhileAway says what happens to clients when the back end does not answer: "refuse", the default, or "allow".
	WhileAway string `json:"while_away,omitempty"`

	// PublicOnly refuses http, addresses that are not on the public internet, and Headers with credentials. It is for
	// hooks that come from others: they must not make this program send requests to machines that they cannot reach
	// themselves, or read what clients send to this server only.
	PublicOnly bool `json:"-"`
}

// The values of Hook.WhileAway.
const (
	Refuse = "refuse"
	Allow  = "allow"
)

// Defaults and bounds of a Hook.
const (
	defaultTimeout     = units.Duration(3 * time.Second)
	maxTimeout         = units.Duration(30 * time.Second)
	defaultConcurrency = 100
	maxConcurrency     = 10_000
	maxHooks           = 16
	maxPatterns        = 64
	maxName            = 63
)

// hidden replaces secrets where a hook is shown.
const hidden = "***"

// private are header fields that hooks with PublicOnly must not ask for: they are meant for this server only.
var private = []string{"Authorization", "Cookie", "Sec-Websocket-Protocol", "X-Api-Key", "X-Phoenix-Authtoken"}

// complete fills in defaults, and the name of the hook with an index in its list.
func (h *Hook) complete(i int) {
	if h.Name == "" {
		h.Name = fmt.Sprintf("hook-%d", i+1)
	}
	if h.Timeout == 0 {
		h.Timeout = defaultTimeout
	}
	if h.Concurrency == 0 {
		h.Concurrency = defaultConcurrency
	}
	if h.WhileAway == "" {
		h.WhileAway = Refuse
	}
}

// Check returns everything that is wrong with a list of hooks, as a [fielderr.List] whose fields begin with the index
// of the hook. It reads no files.
func Check(list []Hook) error {
	var wrong fielderr.List
	if len(list) > maxHooks {
		wrong.Add("", "has %d hooks: at most %d are allowed", len(list), maxHooks)
	}
	for i, h := range list {
		h.complete(i)
		wrong.AddBelow(fmt.Sprintf("/%d", i), h.check())
		if h.decides(Refresh) && !slices.ContainsFunc(list, func(other Hook) bool { return other.decides(Connect) }) {
			wrong.Add(fmt.Sprintf("/%d/on", i), "has %q, but no hook has %q, which sets when connections expire", Refresh, Connect)
		}
		for j := range i {
			if other := list[j]; other.completed(j).Name == h.Name {
				wrong.Add(fmt.Sprintf("/%d/name", i), "%q is already the name of another hook", h.Name)
			}
		}
	}
	return wrong.Err()
}

func (h Hook) completed(i int) Hook {
	h.complete(i)
	return h
}

// check returns what is wrong with a completed hook.
func (h *Hook) check() (wrong fielderr.List) {
	if len(h.Name) > maxName || strings.Trim(h.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		wrong.Add("/name", "must be 1 to %d characters of a-z, 0-9 and -", maxName)
	}
	wrong = append(wrong, h.checkURL()...)
	wrong = append(wrong, h.checkSecret()...)
	if len(h.On) == 0 {
		wrong.Add("/on", "is missing: it lists what the back end decides or is told, such as [\"connect\", \"join\"]")
	}
	for i, on := range h.On {
		if !slices.Contains(decisions, on) && !slices.Contains(told, on) {
			wrong.Add(fmt.Sprintf("/on/%d", i), "is %q: it must be a decision (%s) or an event (%s)", on, strings.Join(decisions, ", "), strings.Join(told, ", "))
		}
	}
	wrong = append(wrong, checkPatterns("/topics", h.Topics)...)
	wrong = append(wrong, checkPatterns("/events", h.Events)...)
	wrong = append(wrong, h.checkHeaders()...)
	if h.Timeout < units.Duration(10*time.Millisecond) || h.Timeout > maxTimeout {
		wrong.Add("/timeout", "is %s: it must be from 10ms to %s", h.Timeout, maxTimeout)
	}
	if h.Concurrency < 1 || h.Concurrency > maxConcurrency {
		wrong.Add("/concurrency", "is %d: it must be from 1 to %d", h.Concurrency, maxConcurrency)
	}
	if h.WhileAway != Refuse && h.WhileAway != Allow {
		wrong.Add("/while_away", "is %q: it must be %q or %q", h.WhileAway, Refuse, Allow)
	}
	return wrong
}

func (h *Hook) checkURL() (wrong fielderr.List) {
	u, err := url.Parse(h.URL)
	switch {
	case h.URL == "":
		wrong.Add("/url", "is missing: it is the address of the back end, such as https://example.com/mycelium")
	case strings.Contains(h.URL, hidden):
		wrong.Add("/url", "has %s, which only replaces a secret for display: write the secret itself", hidden)
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		wrong.Add("/url", "is not an address like https://example.com/mycelium")
	case h.PublicOnly && u.Scheme != "https":
		wrong.Add("/url", "is http: it must be https, unless api.private_hooks is set")
	case h.PublicOnly && netguard.NamesPrivate(u.Hostname()):
		wrong.Add("/url", "is an address of this machine or of a private network: it must be on the internet, unless api.private_hooks is set")
	}
	return wrong
}

func (h *Hook) checkSecret() (wrong fielderr.List) {
	switch {
	case h.Secret == hidden:
		wrong.Add("/secret", "is %s, which only replaces a secret for display: write the secret itself", hidden)
	case h.Secret != "" && h.SecretFile != "":
		wrong.Add("/secret_file", "and secret are both set: leave one out")
	case h.SecretFile != "" && h.PublicOnly:
		wrong.Add("/secret_file", "is allowed in the server's own configuration only: use secret")
	case h.SecretFile != "":
	case h.Secret == "":
		wrong.Add("/secret", "is missing: make one with openssl rand -base64 32")
	default:
		if _, err := webhook.ParseSecret(h.Secret); err != nil {
			wrong.Add("/secret", "%v", err)
		}
	}
	return wrong
}

func (h *Hook) checkHeaders() (wrong fielderr.List) {
	if len(h.Headers) > maxPatterns {
		wrong.Add("/headers", "has %d names: at most %d are allowed", len(h.Headers), maxPatterns)
	}
	for i, name := range h.Headers {
		at := fmt.Sprintf("/headers/%d", i)
		switch {
		case name == "" || strings.ContainsAny(name, " :\r\n\t"):
			wrong.Add(at, "is %q, which is not the name of a header field", name)
		case h.PublicOnly && slices.Contains(private, http.CanonicalHeaderKey(name)):
			wrong.Add(at, "is %q, which is meant for this server only: leave it out, unless api.private_hooks is set", name)
		}
	}
	return wrong
}

func checkPatterns(field string, patterns []string) (wrong fielderr.List) {
	if len(patterns) > maxPatterns {
		wrong.Add(field, "has %d patterns: at most %d are allowed", len(patterns), maxPatterns)
	}
	for i, p := range patterns {
		if _, err := topics.Parse(p); err != nil {
			wrong.Add(fmt.Sprintf("%s/%d", field, i), "is %q, which %v: write a whole name, or the beginning of one followed by *", p, err)
		}
	}
	return wrong
}

// Redacted returns a copy of the hook without its secrets, for display.
func (h Hook) Redacted() Hook {
	if h.Secret != "" {
		h.Secret = hidden
	}
	u, err := url.Parse(h.URL)
	if err != nil {
		h.URL = hidden
		return h
	}
	if _, ok := u.User.Password(); ok || u.RawQuery != "" {
		if u.User != nil {
			u.User = url.UserPassword(u.User.Username(), "x")
		}
		shown := *u
		shown.RawQuery = ""
		h.URL = strings.Replace(shown.String(), ":x@", ":"+hidden+"@", 1)
		if u.RawQuery != "" {
			h.URL += "?" + hidden
		}
	}
	return h
}

// caller returns the options for sending requests to the back end. The hook must be complete and checked.
func (h *Hook) caller() (webhook.Options, error) {
	text := h.Secret
	if h.SecretFile != "" {
		read, err := os.ReadFile(h.SecretFile)
		if err != nil {
			return webhook.Options{}, fielderr.New("/secret_file", "cannot be read: %v", err)
		}
		text = string(bytes.TrimSpace(read))
	}
	secret, err := webhook.ParseSecret(text)
	if err != nil {
		field := "/secret"
		if h.SecretFile != "" {
			field = "/secret_file"
		}
		return webhook.Options{}, fielderr.New(field, "%v", err)
	}
	return webhook.Options{
		URL: h.URL, Secret: secret, Timeout: time.Duration(h.Timeout), Concurrency: h.Concurrency, PublicOnly: h.PublicOnly,
	}, nil
}

// decides reports whether the back end is asked for decisions of a kind.
func (h *Hook) decides(kind string) bool { return slices.Contains(h.On, kind) }

// decidesAny reports whether the back end is asked for decisions of some kind.
func (h *Hook) decidesAny() bool { return slices.ContainsFunc(decisions, h.decides) }

// matches reports whether the hook applies to a topic.
func (h *Hook) matches(topic string) bool {
	return len(h.Topics) == 0 || topics.MatchAny(h.Topics, topic)
}

// takes reports whether the hook applies to an event.
func (h *Hook) takes(event string) bool {
	return len(h.Events) == 0 || topics.MatchAny(h.Events, event)
}

// Redact returns a list of hooks in JSON without its secrets, for display. It returns nil if the list cannot be decoded.
func Redact(list json.RawMessage) json.RawMessage {
	var hooks []Hook
	if json.Unmarshal(list, &hooks) != nil {
		return nil
	}
	for i := range hooks {
		hooks[i] = hooks[i].Redacted()
	}
	shown, err := json.Marshal(hooks)
	if err != nil {
		return nil
	}
	return shown
}

// addBelow prefixes the fields of a hook's errors with its place in the list.
func addBelow(at string, err error) error {
	var wrong, inner fielderr.List
	if !errors.As(err, &inner) {
		return err
	}
	wrong.AddBelow(at, inner)
	return wrong
}
