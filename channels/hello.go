package channels

import (
	"net/url"
	"sync"

	"github.com/mycelium-rt/mycelium/internal/websocket"
)

// hello is all that is made of the head of a handshake: half of the garbage of
// a connection, were it not used again.
type hello struct {
	head    websocket.Request
	request Request
	url     url.URL
	params  Params
}

var hellos = sync.Pool{New: func() any { return new(hello) }}

func newHello() *hello { return hellos.Get().(*hello) }

// maxReused is the number of header fields, and of parameters, above which a
// hello is not used again: its maps would stay large.
const maxReused = 32

// connectRequest makes what Connect is given of the head.
func (h *hello) connectRequest(secure bool) *Request {
	if h.params == nil {
		h.params = make(Params)
	}
	h.params.parse(h.head.RawQuery)
	h.url = url.URL{Scheme: "http", Host: h.head.Host, Path: h.head.Path, RawQuery: h.head.RawQuery}
	if secure {
		h.url.Scheme = "https"
	}
	h.request = Request{Params: h.params, URL: &h.url, Header: h.head.Header, Transport: transportWebsocket}
	return &h.request
}

// release gives h back, which nobody may know any more. Strings of it may be kept.
func (h *hello) release() {
	if h.reset() {
		hellos.Put(h)
	}
}

// reset empties h, and reports false if it is too large to be used again.
func (h *hello) reset() bool {
	if len(h.head.Header) > maxReused || len(h.params) > maxReused {
		return false
	}
	h.head.Reset()
	clear(h.params)
	*h = hello{head: h.head, params: h.params}
	return true
}
