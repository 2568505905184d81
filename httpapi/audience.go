package httpapi

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/fielderr"
)

// pushRequest is an event for the sockets of a user, for those with an id, or for one
// socket: one of user, socket_id and socket must be given.
type pushRequest struct {
	User     *string `json:"user" jsonschema:"minLength=1,maxLength=1024"`      // the sub of the sockets' tokens
	SocketID *string `json:"socket_id" jsonschema:"minLength=1,maxLength=1024"` // the id that sockets were given when they connected
	Socket   *string `json:"socket" jsonschema:"minLength=1,maxLength=1024"`    // one socket, as the list of sockets names it
	// Topic need not be one that the clients have joined.
	Topic   string          `json:"topic" jsonschema:"required,minLength=1,maxLength=255"`
	Event   string          `json:"event" jsonschema:"required,minLength=1,maxLength=255"`
	Payload json.RawMessage `json:"payload" jsonschema:"type=object"` // the default is {}
}

// audienceRequest is a topic for the sockets of a user, for those with an id, or for one
// socket: one of user, socket_id and socket must be given.
type audienceRequest struct {
	User     *string `json:"user" jsonschema:"minLength=1,maxLength=1024"`      // the sub of the sockets' tokens
	SocketID *string `json:"socket_id" jsonschema:"minLength=1,maxLength=1024"` // the id that sockets were given when they connected
	Socket   *string `json:"socket" jsonschema:"minLength=1,maxLength=1024"`    // one socket, as the list of sockets names it
	Topic    string  `json:"topic" jsonschema:"required,minLength=1,maxLength=255"`
}

// disconnectRequest names sockets that are closed: those of a user, those with an id, or
// one. One of user, socket_id and socket must be given.
type disconnectRequest struct {
	User     *string `json:"user" jsonschema:"minLength=1,maxLength=1024"`      // the sub of the sockets' tokens
	SocketID *string `json:"socket_id" jsonschema:"minLength=1,maxLength=1024"` // the id that sockets were given when they connected
	Socket   *string `json:"socket" jsonschema:"minLength=1,maxLength=1024"`    // one socket, as the list of sockets names it
	// Reconnect is whether the clients connect again by themselves; the default is true.
	Reconnect *bool `json:"reconnect"`
}

// maxTarget bounds a user, an id and the name of a socket, in bytes.
const maxTarget = 1024

// targetOf checks the three fields that select sockets.
func targetOf(user, socketID, socket *string) (t channels.Target, err error) {
	given := 0
	for _, f := range []struct {
		pointer     string
		value, into *string
	}{{"/user", user, &t.User}, {"/socket_id", socketID, &t.SocketID}, {"/socket", socket, &t.Socket}} {
		if f.value == nil {
			continue
		}
		if *f.value == "" || len(*f.value) > maxTarget {
			return t, fielderr.New(f.pointer, "must be 1 to %d bytes", maxTarget)
		}
		*f.into = *f.value
		given++
	}
	switch given {
	case 0:
		return t, fielderr.New("/user", "or socket_id or socket is needed: who is meant")
	case 1:
		return t, nil
	}
	return t, fielderr.New("/user", "and socket_id and socket exclude each other: give one of them")
}

// operationsOfAudiences do something to sockets.
func (a *API) operationsOfAudiences() []operation {
	to := func(id, path, summary, about, schema string, handle func(http.ResponseWriter, *request) error) operation {
		return operation{
			method: "POST", path: "/api/instances/{id}/" + path, scope: Publish, handle: handle, body: jsonBody(schema),
			header: []parameter{idempotencyKey}, id: id, summary: summary, about: about, answers: []answerDoc{sent},
			fails: []int{http.StatusConflict, http.StatusTooManyRequests, http.StatusServiceUnavailable},
		}
	}
	return []operation{
		to("disconnect", "disconnect", "Close sockets: of a user, of an id, or one",
			"Their clients connect again, unless reconnect is false. Who must stay out needs a revoked token.", "Disconnect", a.disconnect),
		to("push", "push", "Send an event to the sockets of a user or of an id, or to one",
			"Whether they have joined the topic or not. That nobody is connected is not an error.", "Push", a.push),
		to("leave", "leave", "Make sockets leave a topic",
			"Their clients get phx_close, after which they do not join again by themselves.", "Audience", a.leave),
		to("subscribe", "subscribe", "Subscribe sockets to a topic",
			"Clients that have not joined it get its broadcasts until they disconnect, leave or are unsubscribed.", "Audience", a.subscribe),
		to("unsubscribe", "unsubscribe", "End what subscribe has begun", "", "Audience", a.unsubscribe),
	}
}

// push sends an event to some sockets.
func (a *API) push(w http.ResponseWriter, r *request) error {
	var body pushRequest
	if err := r.decode(&body); err != nil {
		return err
	}
	t, err := targetOf(body.User, body.SocketID, body.Socket)
	if err != nil {
		return err
	}
	if err := checkNames(body.Topic, body.Event); err != nil {
		return err
	}
	to, err := a.manager.To(r.id, t)
	if err != nil {
		return err
	}
	if len(body.Payload) == 0 {
		body.Payload = json.RawMessage("{}")
	}
	return noContent(w, to.Push(body.Topic, body.Event, body.Payload))
}

func (a *API) leave(w http.ResponseWriter, r *request) error {
	return a.toAudience(w, r, channels.Audience.Leave)
}

func (a *API) subscribe(w http.ResponseWriter, r *request) error {
	return a.toAudience(w, r, channels.Audience.Subscribe)
}

func (a *API) unsubscribe(w http.ResponseWriter, r *request) error {
	return a.toAudience(w, r, channels.Audience.Unsubscribe)
}

// toAudience does something with a topic to some sockets.
func (a *API) toAudience(w http.ResponseWriter, r *request, do func(to channels.Audience, topic string) error) error {
	var body audienceRequest
	if err := r.decode(&body); err != nil {
		return err
	}
	t, err := targetOf(body.User, body.SocketID, body.Socket)
	if err != nil {
		return err
	}
	if body.Topic == "" || len(body.Topic) > maxName {
		return fielderr.New("/topic", "must be 1 to %d bytes", maxName)
	}
	to, err := a.manager.To(r.id, t)
	if err != nil {
		return err
	}
	return noContent(w, do(to, body.Topic))
}

// disconnect closes some sockets.
func (a *API) disconnect(w http.ResponseWriter, r *request) error {
	var body disconnectRequest
	if err := r.decode(&body); err != nil {
		return err
	}
	t, err := targetOf(body.User, body.SocketID, body.Socket)
	if err != nil {
		return err
	}
	reconnect := body.Reconnect == nil || *body.Reconnect
	if t.SocketID != "" && reconnect { // the program may have subscribed to the id
		return noContent(w, a.manager.Disconnect(r.id, t.SocketID))
	}
	to, err := a.manager.To(r.id, t)
	if err != nil {
		return err
	}
	return noContent(w, to.Disconnect(reconnect))
}

// noContent answers 204, unless there is an error.
func noContent(w http.ResponseWriter, err error) error {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

// Sockets is a page of the connected sockets.
type Sockets struct {
	Sockets []channels.SocketInfo `json:"sockets"`
	// Next is the query parameter "after" for the next page. The last page has none.
	Next string `json:"next,omitempty"`
	// Missing are the nodes of a cluster that did not answer, whose sockets are not here.
	Missing []string `json:"missing,omitempty"`
}

// Users is a page of the connected users.
type Users struct {
	// Users are in the order of their names. Sockets without a user are not among them.
	Users []channels.UserInfo `json:"users"`
	// Next is the query parameter "after" for the next page. The last page has none.
	Next string `json:"next,omitempty"`
	// Missing are the nodes of a cluster that did not answer, whose users are not here.
	Missing []string `json:"missing,omitempty"`
}

// operationsOfConnected show who is connected.
func (a *API) operationsOfConnected() []operation {
	after := parameter{name: "after", about: "The next of the page before.", schema: text("")}
	fails := []int{http.StatusConflict, http.StatusServiceUnavailable}
	return []operation{{
		method: "GET", path: "/api/instances/{id}/sockets", scope: Read, handle: a.sockets,
		id: "listSockets", summary: "A page of the connected sockets", about: "Those that stay connected are on one page each.",
		query: []parameter{
			{name: "user", about: "Only the sockets of this user.", schema: text(`,"minLength":1`)},
			{name: "socket_id", about: "Only the sockets with this id.", schema: text(`,"minLength":1`)},
			{name: "socket", about: "Only this socket.", schema: text(`,"minLength":1`)},
			after, limitParameter,
		},
		answers: []answerDoc{{status: 200, about: "A page.", schema: ref("schemas", "Sockets")}}, fails: fails,
	}, {
		method: "GET", path: "/api/instances/{id}/users", scope: Read, handle: a.users,
		id: "listUsers", summary: "A page of the connected users, with their sockets and topics",
		query:   []parameter{after, limitParameter},
		answers: []answerDoc{{status: 200, about: "A page.", schema: ref("schemas", "Users")}}, fails: fails,
	}, {
		method: "GET", path: "/api/instances/{id}/totals", scope: Read, handle: a.totals,
		id: "getTotals", summary: "How many sockets and users are connected, and how many topics have subscribers, on all nodes together",
		answers: []answerDoc{{status: 200, about: "The numbers.", schema: ref("schemas", "Totals")}}, fails: fails,
	}}
}

func (a *API) sockets(w http.ResponseWriter, r *request) error {
	limit, err := r.limit()
	if err != nil {
		return err
	}
	q := channels.SocketQuery{Limit: limit + 1, After: r.query.Get("after")}
	if user, id, socket := r.given("user"), r.given("socket_id"), r.given("socket"); cmp.Or(user, id, socket) != nil {
		if q.Target, err = targetOf(user, id, socket); err != nil {
			return badTarget(err)
		}
	}
	list, err := a.manager.FindSockets(r.id, q)
	if err != nil {
		return err
	}
	page := Sockets{Sockets: list}
	if len(list) > limit {
		page.Sockets, page.Next = list[:limit], list[limit-1].Socket
	}
	others, missing := gather[Sockets](a, r)
	page.addSockets(others, limit)
	page.Missing = missing
	return answer(w, http.StatusOK, page)
}

// given returns a parameter of the query, nil if it is not there.
func (r *request) given(name string) *string {
	if !r.query.Has(name) {
		return nil
	}
	value := r.query.Get(name)
	return &value
}

// badTarget makes the problem of a query of an error of targetOf.
func badTarget(err error) error {
	var wrong fielderr.List
	if !errors.As(err, &wrong) || len(wrong) == 0 {
		return err
	}
	return badQuery(wrong[0].Field[1:], "%s", wrong[0].Reason)
}

func (a *API) users(w http.ResponseWriter, r *request) error {
	limit, err := r.limit()
	if err != nil {
		return err
	}
	list, err := a.manager.Users(r.id, r.query.Get("after"), limit+1)
	if err != nil {
		return err
	}
	page := Users{Users: list}
	if len(list) > limit {
		page.Users, page.Next = list[:limit], list[limit-1].User
	}
	others, missing := gather[Users](a, r)
	page.addUsers(others, limit)
	page.Missing = missing
	return answer(w, http.StatusOK, page)
}
