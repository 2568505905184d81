package conformance

import (
	"fmt"
	"net/http"
	"strings"
)

// handshakeRequest returns the bytes of an open step, including early frames.
func handshakeRequest(addr string, o *Open, fill func(string) (string, error)) ([]byte, error) {
	method, version := o.Method, o.HTTP
	if method == "" {
		method = http.MethodGet
	}
	if version == "" {
		version = "HTTP/1.1"
	}
	head := &requestHead{
		line:    method + " " + target(o.Path, o.Query) + " " + version,
		headers: Headers{{Name: "Host", Value: addr}},
	}
	if !o.NoUpgradeHeaders {
		head.headers = append(head.headers,
			Header{Name: "Connection", Value: "Upgrade"},
			Header{Name: "Upgrade", Value: "websocket"},
			Header{Name: "Sec-WebSocket-Version", Value: "13"},
			Header{Name: "Sec-WebSocket-Key", Value: sampleKey})
	}
	head.apply(o.Headers)
	request, err := head.bytes(o.Body, fill)
	if err != nil {
		return nil, err
	}
	for _, text := range o.Early {
		filled, err := fill(text)
		if err != nil {
			return nil, err
		}
		request = plainFrame(opText, []byte(filled)).appendTo(request)
	}
	return request, nil
}

// compareOpened compares the answer to a handshake (FORMAT.md section 5).
func compareOpened(open *Open, want *Answer, got *httpAnswer, b *bindings) error {
	if !want.Status.Has(got.status) {
		return fmt.Errorf("expected status %s\n  received %d %s %s", want.Status, got.status, got.reason, short(got.body))
	}
	if got.status == http.StatusSwitchingProtocols {
		return compareUpgrade(open, want, got)
	}
	if got.status == http.StatusBadRequest || got.status >= 500 || want.Body == nil || open.Method == http.MethodHead {
		return nil
	}
	if !same(*want.Body, got.body, b) {
		return fmt.Errorf("expected body %s\n  received %s", short(*want.Body), short(got.body))
	}
	return nil
}

func compareUpgrade(open *Open, want *Answer, got *httpAnswer) error {
	if v := got.header.Get("Upgrade"); !strings.EqualFold(v, "websocket") {
		return fmt.Errorf("expected upgrade: websocket\n  received %q", v)
	}
	if v := headerList(strings.Join(got.header.Values("Connection"), ",")); !strings.Contains(", "+v+",", ", upgrade,") {
		return fmt.Errorf("expected connection: upgrade\n  received %q", v)
	}
	for _, name := range []string{"sec-websocket-accept", "sec-websocket-protocol"} {
		recorded, expected := want.Headers[name]
		values := got.header.Values(name)
		if expected != (len(values) == 1) || len(values) > 1 || expected && values[0] != recorded {
			return fmt.Errorf("expected %s: %q\n  received %q", name, recorded, values)
		}
	}
	offer := ""
	for _, h := range open.Headers {
		if strings.EqualFold(h.Name, "Sec-WebSocket-Extensions") && !h.Omit {
			offer = h.Value
		}
	}
	answer := strings.Join(got.header.Values("Sec-WebSocket-Extensions"), ",")
	return compareExtensions(offer, want.Headers["sec-websocket-extensions"], answer)
}
