package conformance

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const (
	deflateName = "permessage-deflate"
	// webkitName is an older name that Cowboy accepts too.
	webkitName = "x-webkit-deflate-frame"
)

// extension is an element of a Sec-WebSocket-Extensions header. A parameter without a
// value has the value "".
type extension struct {
	name   string
	params map[string]string
	twice  string // a parameter that occurs twice
}

func (e extension) has(param string) bool { _, ok := e.params[param]; return ok }

// parseExtensions parses a header. It removes quotes around values.
func parseExtensions(header string) []extension {
	var list []extension
	for _, element := range strings.Split(header, ",") {
		parts := strings.Split(element, ";")
		e := extension{name: strings.ToLower(strings.TrimSpace(parts[0])), params: map[string]string{}}
		if e.name == "" {
			continue
		}
		for _, part := range parts[1:] {
			name, value, _ := strings.Cut(part, "=")
			name = strings.ToLower(strings.TrimSpace(name))
			if e.has(name) {
				e.twice = name
			}
			e.params[name] = strings.Trim(strings.TrimSpace(value), `"`)
		}
		list = append(list, e)
	}
	return list
}

// windowBits parses a number from 8 to 15 (RFC 7692, 7.1.2).
func windowBits(s string) (int, bool) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 8 || n > 15 || s[0] == '0' || s[0] == '+' {
		return 0, false
	}
	return n, true
}

// compareExtensions checks the answer to an offer. It must be accepted or declined as
// recorded; the parameters may be any that RFC 7692 allows.
func compareExtensions(offer, recorded, answer string) error {
	offers := parseExtensions(offer)
	got := parseExtensions(answer)
	if len(got) == 0 {
		if recorded == "" || mayDecline(offers) {
			return nil
		}
		return fmt.Errorf("expected the extension %q to be accepted", recorded)
	}
	if recorded == "" {
		return fmt.Errorf("expected no extension\n  received %q", answer)
	}
	if len(got) > 1 {
		return fmt.Errorf("more than one extension: %q", answer)
	}
	problem := errors.New("it was not offered")
	for _, o := range offers {
		if o.name != got[0].name {
			continue
		}
		if problem = got[0].answers(o); problem == nil {
			return nil
		}
	}
	return fmt.Errorf("the extension %q is not a legal answer to %q: %w", answer, offer, problem)
}

// mayDecline reports whether a server may decline offers, because it need not be able to
// bound its window.
func mayDecline(offers []extension) bool {
	alternatives := 0
	for _, o := range offers {
		if o.name != deflateName {
			continue
		}
		alternatives++
		if !o.has("server_max_window_bits") {
			return false
		}
	}
	return alternatives > 0
}

// answers reports why e may not answer the offer o (RFC 7692, section 7.1).
func (e extension) answers(o extension) error {
	if e.name == webkitName {
		return nil
	}
	if e.twice != "" {
		return fmt.Errorf("%s occurs twice", e.twice)
	}
	for name, value := range e.params {
		if err := checkParam(name, value, o); err != nil {
			return err
		}
	}
	if o.has("server_no_context_takeover") && !e.has("server_no_context_takeover") {
		return errors.New("server_no_context_takeover is missing")
	}
	if !o.has("server_max_window_bits") {
		return nil
	}
	most, ok := windowBits(o.params["server_max_window_bits"])
	bits, okBits := windowBits(e.params["server_max_window_bits"])
	if !ok || !okBits || bits > most {
		return errors.New("server_max_window_bits is missing or above the offer")
	}
	return nil
}

func checkParam(name, value string, o extension) error {
	switch name {
	case "server_no_context_takeover", "client_no_context_takeover":
		if value != "" {
			return fmt.Errorf("%s has a value", name)
		}
		return nil
	case "server_max_window_bits", "client_max_window_bits":
		bits, ok := windowBits(value)
		if !ok {
			return fmt.Errorf("%s=%q is not a number of bits", name, value)
		}
		if name == "server_max_window_bits" {
			return nil
		}
		if !o.has(name) {
			return fmt.Errorf("%s was not offered", name)
		}
		if most, limited := windowBits(o.params[name]); limited && bits > most {
			return fmt.Errorf("%s is above the offer", name)
		}
		return nil
	}
	return fmt.Errorf("unknown parameter %q", name)
}
