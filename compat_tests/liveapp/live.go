package main

import (
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
)

// version is the version of npm's phoenix_live_view, which warns if the server's differs.
const version = "1.2.12"

type object = map[string]any

// view is the state of a page's view. Its values go between the statics.
type view struct {
	title    string
	page     string // of the address
	count    int
	word     string
	said     []string
	ticks    int
	entries  []*entry // files that were chosen
	files    []string // descriptions of the files that were received
	problem  string
	rendered []string // what the client has
}

// statics is the HTML around the values, in order.
var statics = []string{
	`<h1 id="title">`, `</h1> <p id="page">`, `</p> <button id="inc" phx-click="inc" phx-value-by="2">`, `</button>
<form id="words" phx-change="validate" phx-submit="say"><input id="word" name="word" autocomplete="off" value="`, `"> <span id="length">`, `</span></form>
<p id="said">`, `</p> <p id="ticks">`, `</p>
<form id="upload" phx-change="choose" phx-submit="save">
<input type="file" id="file" name="file" multiple data-phx-hook="Phoenix.LiveFileUpload" data-phx-update="ignore" data-phx-upload-ref="` + uploadRef + `"
 data-phx-active-refs="`, `" data-phx-done-refs="`, `" data-phx-preflighted-refs="`, `">
<button id="save">Save</button></form> <p id="files">`, `</p> <p id="problem">`, `</p>
<button id="tick" phx-click="tick">tick</button> <button id="crash" phx-click="crash">crash</button> <button id="leave" phx-click="redirect">leave</button>
<button id="go" phx-click="live_redirect">go</button> <button id="turn" phx-click="live_patch">turn</button>
<a id="next" href="/?page=next" data-phx-link="patch" data-phx-link-state="push">next</a>
`,
}

func (v *view) values() []string {
	values := []string{
		v.title, v.page, fmt.Sprint(v.count), v.word, fmt.Sprint(len(v.word)), strings.Join(v.said, ", "), fmt.Sprint(v.ticks),
		refs(v.entries, func(*entry) bool { return true }),
		refs(v.entries, func(e *entry) bool { return e.progress == 100 }),
		refs(v.entries, func(e *entry) bool { return e.token != "" }),
		strings.Join(v.files, ", "), v.problem,
	}
	for i := range values {
		values[i] = html.EscapeString(values[i])
	}
	return values
}

// tree returns the whole view, for the reply to a join.
func (v *view) tree() object {
	v.rendered = nil
	tree := v.diff()
	tree["s"] = statics
	return tree
}

// diff returns the values that have changed since the last diff, by their numbers.
func (v *view) diff() object {
	diff, values := object{}, v.values()
	for i, value := range values {
		if v.rendered == nil || v.rendered[i] != value {
			diff[fmt.Sprint(i)] = value
		}
	}
	v.rendered = values
	return diff
}

// update returns the reply to an event, with the changes.
func (v *view) update() object { return object{"diff": v.diff()} }

// joinParams are the params of a join. After a navigation within a session, the address is
// in Redirect.
type joinParams struct {
	URL      string `json:"url"`
	Redirect string `json:"redirect"`
	Session  string `json:"session"`
	Params   struct {
		TimeZone string `json:"time_zone"`
	} `json:"params"`
}

// event is a click or a change of a form.
type event struct {
	Type    string             `json:"type"`
	Event   string             `json:"event"`
	Value   json.RawMessage    `json:"value"` // of a form: its fields, as in a query
	Uploads map[string][]entry `json:"uploads"`
}

func (e event) form() url.Values {
	var query string
	if json.Unmarshal(e.Value, &query) != nil {
		return nil
	}
	fields, err := url.ParseQuery(query)
	if err != nil {
		return nil
	}
	return fields
}

type tick struct{}

var state = channels.NewKey[*view]("view")

// live returns the channel for views. The topic is lv: followed by the id of their element.
func live(up *uploads) *channels.Channel {
	ch := channels.Handle("lv:*", join)
	channels.On(ch, "event", handleEvent)
	channels.On(ch, "live_patch", func(c *channels.Context, m struct {
		URL string `json:"url"`
	}) (object, error) {
		v := state.Get(c)
		return v.turn(m.URL)
	})
	channels.On(ch, "allow_upload", up.allow)
	channels.On(ch, "progress", handleProgress)
	channels.Info(ch, func(c *channels.Context, _ tick) error {
		v := state.Get(c)
		v.ticks++
		return c.Push("diff", v.diff())
	})
	channels.Info(ch, func(c *channels.Context, r received) error {
		v := state.Get(c)
		v.files = append(v.files, fmt.Sprintf("%s %d %x", r.name, r.size, r.sum))
		return c.Push("diff", v.diff())
	})
	return ch
}

func join(c *channels.Context, p joinParams) (object, error) {
	v := &view{title: "liveapp"}
	switch p.Session {
	case "/stale":
		return nil, channels.Errorf("stale")
	case "/crash":
		panic("a client asked for it")
	case "/moved":
		return nil, &channels.ReplyError{Response: object{"redirect": object{"to": "/login"}}}
	case "/moved_live":
		if p.Redirect == "" {
			return nil, &channels.ReplyError{Response: object{"live_redirect": object{"to": "/other", "kind": "push"}}}
		}
	}
	if p.Params.TimeZone != "UTC" {
		return nil, channels.Errorf("the params of the LiveSocket are %+v", p.Params)
	}
	address, err := url.Parse(p.URL + p.Redirect)
	if err != nil {
		return nil, channels.Errorf("%v", err)
	}
	if address.Path == "/other" {
		v.title = "other"
	}
	v.page = address.Query().Get("page")
	state.Set(c, v)
	return object{"rendered": v.tree(), "liveview_version": version}, nil
}

func handleEvent(c *channels.Context, e event) (object, error) {
	v := state.Get(c)
	switch e.Event {
	case "inc":
		var by struct{ By string }
		if err := json.Unmarshal(e.Value, &by); err != nil || by.By != "2" {
			return nil, channels.Errorf("the click has %s", e.Value)
		}
		v.count += 2
	case "validate":
		v.word = e.form().Get("word")
	case "say":
		v.said = append(v.said, e.form().Get("word"))
		diff := v.diff()
		diff["e"] = [][]any{{"said", object{"words": len(v.said)}}} // an event for the page
		return object{"diff": diff}, nil
	case "choose":
		v.choose(e.Uploads[uploadRef])
	case "save":
		v.entries = slices.DeleteFunc(v.entries, func(e *entry) bool { return e.progress == 100 })
	case "tick":
		for n := range 3 {
			c.SendAfter(time.Duration(n)*10*time.Millisecond, tick{})
		}
	case "crash":
		panic("a client asked for it")
	case "redirect":
		return object{"redirect": object{"to": "/login"}}, nil
	case "live_redirect":
		return object{"live_redirect": object{"to": "/other", "kind": "push"}}, nil
	case "live_patch":
		reply, err := v.turn("/?page=turned")
		reply["live_patch"] = object{"to": "/?page=turned", "kind": "push"}
		return reply, err
	default:
		return nil, channels.Errorf("unknown event %q", e.Event)
	}
	return v.update(), nil
}

// turn shows another page of the view.
func (v *view) turn(to string) (object, error) {
	address, err := url.Parse(to)
	if err != nil {
		return nil, channels.Errorf("%v", err)
	}
	v.page = address.Query().Get("page")
	return v.update(), nil
}
