package websocket

import "net/http"

// Compose fills r with what Parse would read from a GET of target with the fields of
// header, for a handshake that was not sent over HTTP. A Host is not required. The error
// is a *HandshakeError. r must be zero or have been Reset.
func (r *Request) Compose(target string, header map[string]string) error {
	r.Method, r.Target, r.Proto = http.MethodGet, target, "HTTP/1.1"
	if err := r.parseTarget(); err != nil {
		return err
	}
	if len(header) > MaxFields {
		return tooLarge("more than 100 header fields")
	}
	if r.Header == nil {
		r.Header = make(http.Header, len(header))
	}
	for name, value := range header {
		name, value, err := ParseField(name + ":" + value)
		if err != nil {
			return err
		}
		if r.Header[name] != nil {
			return badRequest("a header field twice")
		}
		r.Header[name] = []string{value}
	}
	if host := r.Header["Host"]; r.Host == "" && host != nil {
		r.Host = host[0]
	}
	if !validHost(r.Host) {
		return badRequest("malformed host")
	}
	return nil
}
