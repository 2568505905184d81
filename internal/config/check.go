package config

import (
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/mycelium-rt/mycelium/internal/topics"
)

// The functions here return what is wrong with a value, or "". That follows the value
// in a sentence.

func checkAddress(address string) string {
	if _, err := strconv.ParseUint(address, 10, 16); err == nil {
		return "is a port without the colon before it"
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "is not an address with a port"
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "does not have a port from 0 to 65535"
	}
	if strings.ContainsAny(host, "/ \t") {
		return "does not have the name or address of a host"
	}
	return ""
}

func checkOptionalAddress(address string) string {
	if address == "" {
		return ""
	}
	return checkAddress(address)
}

func checkNetwork(network string) string {
	if _, err := parseNetwork(network); err != nil {
		return "is neither an IP address nor a network such as 10.0.0.0/8"
	}
	return ""
}

// parseNetwork parses a network. An address is the network of that address alone.
func parseNetwork(network string) (netip.Prefix, error) {
	if strings.Contains(network, "/") {
		return netip.ParsePrefix(network)
	}
	addr, err := netip.ParseAddr(network)
	if err != nil {
		return netip.Prefix{}, err
	}
	return addr.WithZone("").Prefix(addr.BitLen())
}

// minToken is the length of 96 random bits in base64.
const minToken = 16

func checkToken(token string) string {
	switch {
	case token == "":
		return ""
	case len(token) < minToken:
		return "is too short"
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "has a character that a header field cannot have"
	}
	return ""
}

// ownPaths are paths that the server itself serves. A socket there would hide them, or
// never be reached.
var ownPaths = []string{"/api", "/assets", "/examples", "/healthz", "/metrics", "/observer", "/readyz"}

func checkPath(p string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(p, "/"), "/")
	switch {
	case slices.Contains(ownPaths, "/"+first):
		return "is a path of the server's own, as are " + strings.Join(ownPaths, ", ") + " and what is below them"
	case !strings.HasPrefix(p, "/"):
		return "does not begin with /"
	case strings.HasSuffix(p, "/"):
		return "ends with /"
	case strings.ContainsAny(p, "?#% \t\r\n") || path.Clean(p) != p:
		return "is not a plain path"
	}
	return ""
}

func checkPattern(pattern string) string {
	_, err := topics.Parse(pattern)
	switch {
	case err != nil:
		return err.Error()
	case strings.HasPrefix(pattern, topics.ReservedPrefix):
		return "begins with " + topics.ReservedPrefix + ", which is reserved"
	case !utf8.ValidString(pattern) || strings.TrimSpace(pattern) != pattern:
		return "is not a topic that clients would join"
	}
	return ""
}

// originKind reads a mode or a list of origins.
var originKind = kind{
	word: "ORIGINS", takes: "host, conn, off, or a list of origins", list: true,
	parse: func(words []string) (any, string) {
		if len(words) == 0 {
			return nil, "is empty"
		}
		if mode := OriginMode(words[0]); len(words) == 1 && mode.named() {
			return CheckOrigin{Mode: mode}, ""
		}
		origins := make([]string, len(words))
		for i, w := range words {
			if wrong := checkOrigin(w); wrong != "" {
				return nil, within(words, w, wrong)
			}
			origins[i] = strings.ToLower(w)
		}
		return CheckOrigin{Mode: OriginList, Origins: origins}, ""
	},
}

// named reports whether a mode is chosen by its name.
func (m OriginMode) named() bool { return m == OriginHost || m == OriginConn || m == OriginOff }

func checkOrigin(origin string) string {
	switch {
	case OriginMode(origin).named():
		return "cannot be combined with origins"
	case origin == "null", origin == "file://": // what pages without a host send
		return ""
	}
	if !strings.Contains(origin, "//") {
		return "is not an origin: it has no // before the host"
	}
	u, err := url.Parse(origin)
	if err != nil || u.Hostname() == "" || u.User != nil {
		return "is not an origin"
	}
	if u.Path != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(origin, "#") {
		return "has more than scheme, host and port"
	}
	if port := u.Port(); strings.HasSuffix(u.Host, ":") || port != "" && !isPort(port) {
		return "does not have a port from 1 to 65535"
	}
	if host := strings.TrimPrefix(u.Hostname(), "*."); host == "" || strings.Contains(host, "*") {
		return "has a * that is not the whole first label of the host"
	}
	return ""
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

func checkFileName(name string) string {
	// The content of the file was passed instead of its name.
	if strings.Contains(name, "-----BEGIN") {
		return "is the text of a PEM file"
	}
	return ""
}

// hostName is a DNS name of two labels or more, in lower case.
var hostName = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)

// checkHost is for names that an authority is asked to certify.
func checkHost(host string) string {
	switch {
	case strings.HasPrefix(host, "*."):
		return "is a wildcard, for which an authority asks for changes of the DNS: name the hosts, or set tls.cert and tls.key"
	case net.ParseIP(host) != nil:
		return "is an IP address: authorities certify names"
	case len(host) > 253 || !hostName.MatchString(host):
		return "is not a DNS name in lower case, with xn-- for other letters than a to z"
	}
	return ""
}

func checkEmail(address string) string {
	if address == "" {
		return ""
	}
	if a, err := mail.ParseAddress(address); err != nil || a.Address != address {
		return "is not an e-mail address"
	}
	return ""
}

func checkDirectory(s string) string {
	if wrong := checkURL(s); wrong != "" {
		return wrong
	}
	if !strings.HasPrefix(s, "https://") {
		return "does not begin with https://, which ACME needs"
	}
	return ""
}

func checkPublicURL(text string) string {
	if text == "" {
		return ""
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return "is not an http or https URL"
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(text, "#"):
		return "has more than scheme, host, port and path"
	case u.Path != "" && u.Path != "/" && path.Clean(u.Path) != strings.TrimSuffix(u.Path, "/"):
		return "does not have a plain path"
	}
	return ""
}

// checkAny rejects the empty string.
func checkAny(s string) string {
	if s == "" {
		return "is empty"
	}
	return ""
}

func checkURL(s string) string {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return "is not an address that begins with https://"
	case strings.ContainsAny(s, " \t\r\n"):
		return "has white space"
	case u.Fragment != "":
		return "has a fragment (#), which no server is sent"
	}
	return ""
}

func checkPlace(s string) string {
	if s != "params" && s != "auth_token" {
		return "is not params or auth_token"
	}
	return ""
}

func checkAlgorithm(s string) string {
	if !slices.Contains(algorithms, s) {
		return "is not a supported algorithm"
	}
	return ""
}

// eventNames are the events that can be told: those of package hooks.
var eventNames = []string{"connected", "disconnected", "joined", "left", "occupied", "vacated", "presence", "published"}

func checkEvent(name string) string {
	if !slices.Contains(eventNames, name) {
		return "is not the name of an event"
	}
	return ""
}
