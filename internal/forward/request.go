package forward

import (
	"io"
	"log"
	"net/http"
	"net/http/httputil"
)

// discard drops log lines of net/http: its errors are reported elsewhere, or mean only
// that a client has gone.
var discard = log.New(io.Discard, "", 0)

// clientFields are fields of a client's request that ReverseProxy removes. The other node
// trusts the same proxies as this one, so it has to see them.
var clientFields = []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"}

// rewrite addresses a request to the node, and leaves the rest as the client sent it.
func (e *Elsewhere) rewrite(p *httputil.ProxyRequest, c Claim) {
	for _, name := range clientFields {
		if values, ok := p.In.Header[name]; ok {
			p.Out.Header[name] = values
		}
	}
	for _, name := range []string{"Connection", "Upgrade"} { // ReverseProxy keeps these two
		delete(p.Out.Header, name)
	}
	p.Out.URL.RawQuery = p.In.URL.RawQuery
	e.addressTo(p.Out, p.In.Host, c)
}

// addressTo makes out, whose URL has the path and query, a request to the node.
func (e *Elsewhere) addressTo(out *http.Request, host string, c Claim) {
	out.URL.Scheme, out.URL.Host = "http", e.address // dial adds TLS
	out.Host = host
	out.Header.Set(Field, e.node.sign(c))
	if out.Header["User-Agent"] == nil {
		out.Header["User-Agent"] = nil // keeps net/http from adding its own
	}
}

// takePlace removes from begun, the header of an answer in the making, the fields that the
// node's answer has.
func takePlace(begun, answer http.Header) {
	for name := range answer {
		delete(begun, name)
	}
}
