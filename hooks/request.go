package hooks

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/webhook"
	"github.com/mycelium-rt/mycelium/wire"
)

// Version is the version of requests and answers.
const Version = 1

// Request is a request to a back end, as JSON in the body of a POST. docs/backends.md says which fields belong to
// which decision.
type Request struct {
	Version  int             `json:"v"`
	ID       string          `json:"id"`   // the same if the request is repeated
	Type     string          `json:"type"` // the kind of decision
	Instance string          `json:"instance"`
	Test     bool            `json:"test,omitempty"` // in a Try: there is no client
	Topic    string          `json:"topic,omitempty"`
	Event    string          `json:"event,omitempty"`
	Payload  json.RawMessage `json:"payload,omitempty"`
	// Binary is the payload of an event that is not JSON.
	Binary []byte `json:"payload_base64,omitempty"`

	SocketID  string                     `json:"socket_id,omitempty"`
	Claims    json.RawMessage            `json:"claims,omitempty"`
	Assigns   map[string]json.RawMessage `json:"assigns,omitempty"` // what answers have assigned
	Params    map[string]any             `json:"params,omitempty"`  // of the connect
	Headers   map[string]string          `json:"headers,omitempty"` // those that the hook names, in lower case
	Address   string                     `json:"address,omitempty"` // the client's, without a port
	Transport string                     `json:"transport,omitempty"`
	// AuthToken is the authToken of phoenix.js, in requests for connect and refresh. It is empty if the server itself
	// verifies tokens that clients send in this way.
	AuthToken string `json:"auth_token,omitempty"`
	// Certificate is the client's TLS certificate.
	Certificate *channels.ClientCertificate `json:"certificate,omitempty"`
}

// question is a Request that is being encoded.
type question struct {
	id   string
	text []byte
}

// begin begins a request. Its fields are appended one by one, which is faster than encoding/json: many events are asked
// about.
func (d *Decider) begin(kind string) question {
	q := question{id: webhook.NewID(), text: make([]byte, 0, 512)}
	q.text = append(q.text, `{"v":1`...)
	q.str("id", q.id)
	q.str("type", kind)
	q.str("instance", d.options.Instance)
	return q
}

// str appends a field, unless value is empty.
func (q *question) str(name, value string) {
	if value != "" {
		q.name(name)
		q.text = wire.AppendString(q.text, value)
	}
}

// raw appends a field whose value is JSON, unless there is none.
func (q *question) raw(name string, value []byte) {
	if len(value) > 0 {
		q.name(name)
		q.text = append(q.text, value...)
	}
}

// json appends a field, unless value is nil or cannot be encoded.
func (q *question) json(name string, value any) {
	if value == nil {
		return
	}
	if text, err := json.Marshal(value); err == nil && string(text) != "null" {
		q.raw(name, text)
	}
}

func (q *question) name(name string) {
	q.text = append(append(append(q.text, `,"`...), name...), `":`...)
}

func (q *question) payload(p channels.Payload) {
	if p.Binary {
		q.name("payload_base64")
		q.text = append(q.text, '"')
		q.text = base64.StdEncoding.AppendEncode(q.text, p.Data)
		q.text = append(q.text, '"')
		return
	}
	q.raw("payload", p.Data)
}

// about appends what is known about a client and ends the request. own are the assigns of the channel.
func (q *question) about(d *Decider, t *target, s *channels.Socket, known *session, own map[string]json.RawMessage) {
	q.str("socket_id", s.ID())
	if d.options.Claims != nil {
		q.json("claims", d.options.Claims(s))
	}
	if len(known.assigns) > 0 || len(own) > 0 {
		all := maps.Clone(known.assigns)
		if all == nil {
			all = own
		} else {
			maps.Copy(all, own)
		}
		q.json("assigns", all)
	}
	q.raw("params", known.params)
	q.headers(t.Headers, known.headers)
	q.str("address", known.address)
	q.str("transport", known.transport)
	if c := s.Certificate(); c != nil {
		q.json("certificate", c)
	}
	q.end()
}

func (q *question) end() { q.text = append(q.text, '}') }

// headers appends the header fields that a hook wants, of those that are kept.
func (q *question) headers(wanted []string, kept map[string]string) {
	if len(kept) == 0 {
		return
	}
	h := make(map[string]string, len(wanted))
	for _, name := range wanted {
		if value, ok := kept[strings.ToLower(name)]; ok {
			h[strings.ToLower(name)] = value
		}
	}
	if len(h) > 0 {
		q.json("headers", h)
	}
}

// session is what is known about the client of a socket.
type session struct {
	// Static after the connect.
	params    json.RawMessage   // of the connect; may be nil
	headers   map[string]string // those that some hook wants, in lower case
	address   string
	transport string
	authToken string // empty if the client sent no token
	assigns   map[string]json.RawMessage

	expiry *expiry // static; nil if the connection does not expire
}

var sessionKey = channels.NewKey[*session]("hooks")

// nobody is the session of a socket that the decider does not know.
var nobody = new(session)

// sessionOf returns what is known about a socket.
func sessionOf(s *channels.Socket) *session {
	if known := sessionKey.Get(s); known != nil {
		return known
	}
	return nobody
}

// newSession keeps what later requests to back ends need of r. It copies all strings that it keeps.
func (d *Decider) newSession(r *channels.Request) *session {
	known := &session{transport: strings.Clone(r.Transport), address: r.RemoteAddr.Addr().Unmap().String()}
	if !r.RemoteAddr.IsValid() {
		known.address = ""
	}
	params := make(map[string]any, len(r.Params))
	for name, value := range r.Params {
		if name != "vsn" && !slices.Contains(d.options.Hide, name) {
			params[name] = value
		}
	}
	if len(params) > 0 {
		known.params, _ = json.Marshal(params) //nolint:errchkjson // strings, lists and maps can be encoded
	}
	for _, name := range d.header() {
		if values := r.Header[http.CanonicalHeaderKey(name)]; len(values) > 0 {
			if known.headers == nil {
				known.headers = make(map[string]string)
			}
			known.headers[strings.ToLower(name)] = strings.Clone(strings.Join(values, ", "))
		}
	}
	return known
}
