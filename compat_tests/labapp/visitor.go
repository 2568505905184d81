package main

import (
	"net/netip"
	"slices"
	"strings"
	"unique"

	"github.com/mycelium-rt/mycelium/channels"
)

// visitor is what a socket keeps of its request. Since each connection has one, it is small:
// it has the texts as they came, shares those that many clients send, and parses them only
// when a client asks.
type visitor struct {
	query     string // of the params
	told      bool   // whether the fields below are set
	secure    bool
	host      unique.Handle[string]
	path      unique.Handle[string]
	agent     unique.Handle[string] // zero if there is none
	names     unique.Handle[string] // of the Sec-WebSocket- fields, in lower case, separated by commas
	xHeaders  map[string]string     // nil if there are none
	authToken *string
	peer      netip.Addr
}

var visitors = channels.NewKey[*visitor]("visitor")

// noInfo is for a socket without connect_info.
func noInfo(*channels.Request, *visitor) {}

// infoOf keeps what connect_info has in Phoenix.
func infoOf(r *channels.Request, v *visitor) {
	v.told = true
	if token, ok := r.AuthToken(); ok {
		v.authToken = &token
	}
	names := make([]string, 0, 8)
	for name, values := range r.Header { // by canonical name
		switch {
		case strings.HasPrefix(name, "X-"):
			if v.xHeaders == nil {
				v.xHeaders = make(map[string]string)
			}
			v.xHeaders[strings.ToLower(name)] = strings.Clone(values[len(values)-1]) // which would keep the whole head in memory
		case strings.HasPrefix(name, "Sec-Websocket-"):
			names = append(names, name)
		case name == "User-Agent":
			v.agent = unique.Make(values[0])
		}
	}
	slices.Sort(names)
	v.names = unique.Make(strings.ToLower(strings.Join(names, ",")))
	v.secure = r.URL.Scheme == "https"
	v.host, v.path = unique.Make(r.URL.Hostname()), unique.Make(r.URL.Path)
	v.peer = r.RemoteAddr.Addr().Unmap()
}

// params returns the params of the request.
func (v *visitor) params() channels.Params { return channels.ParseParams(v.query) }

// connectInfo is the connect_info of a socket.
type connectInfo struct {
	AuthToken           *string           `json:"auth_token"`
	XHeaders            map[string]string `json:"x_headers"`
	SecWebSocketHeaders []string          `json:"sec_websocket_headers"` // names
	UserAgent           *string           `json:"user_agent"`
	URI                 *uri              `json:"uri"`
	Peer                *string           `json:"peer"`
}

type uri struct {
	Scheme string `json:"scheme"`
	Host   string `json:"host"`
	Path   string `json:"path"`
	Query  string `json:"query"`
}

func (v *visitor) connectInfo() connectInfo {
	info := connectInfo{AuthToken: v.authToken, XHeaders: v.xHeaders, SecWebSocketHeaders: []string{}}
	if info.XHeaders == nil {
		info.XHeaders = map[string]string{}
	}
	if !v.told {
		return info
	}
	if names := v.names.Value(); names != "" {
		info.SecWebSocketHeaders = strings.Split(names, ",")
	}
	if v.agent != (unique.Handle[string]{}) {
		agent := v.agent.Value()
		info.UserAgent = &agent
	}
	info.URI = &uri{Scheme: "http", Host: v.host.Value(), Path: v.path.Value(), Query: v.query}
	if v.secure {
		info.URI.Scheme = "https"
	}
	peer := v.peer.String()
	info.Peer = &peer
	return info
}
