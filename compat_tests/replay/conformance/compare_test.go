package conformance

import (
	"strings"
	"testing"
)

func TestMatchMessage(t *testing.T) {
	tests := []struct {
		name, want, got string
		same            bool
	}{
		{"order of keys", `{"a":1,"b":[true,null]}`, `{"b":[true,null],"a":1}`, true},
		{"order of elements", `[1,2]`, `[2,1]`, false},
		{"missing key", `{"a":1,"b":2}`, `{"a":1}`, false},
		{"more keys", `{"a":1}`, `{"a":1,"b":2}`, false},
		{"last of equal keys, recorded", `{"a":1,"a":2}`, `{"a":2}`, true},
		{"last of equal keys, received", `{"a":2}`, `{"a":1,"a":2}`, true},
		{"first of equal keys", `{"a":1}`, `{"a":1,"a":2}`, false},
		{"null is not missing", `{"a":null}`, `{}`, false},
		{"null is not false", `[null]`, `[false]`, false},
		{"string is not number", `["1"]`, `[1]`, false},
		{"integer written as float", `[100]`, `[1.0e2]`, true},
		{"long integer", `[123456789012345678901234567890]`, `[123456789012345678901234567890]`, true},
		{"long integer, one off", `[123456789012345678901234567890]`, `[123456789012345678901234567891]`, false},
		{"integer beyond 2^53", `[9007199254740993]`, `[9007199254740992]`, false},
		{"integer with huge exponent", `[1]`, `[1e999999999]`, false},
		{"zero", `[0]`, `[-0]`, true},
		{"float", `[1.0e21]`, `[1000000000000000000000]`, true},
		{"float rounds", `[3.141592653589793]`, `[3.141592653589793238]`, true},
		{"float differs", `[0.1]`, `[0.10000000000000002]`, false},
		{"negative zero", `[-0.0]`, `[0.0]`, false},
		{"escapes", `["\u00e9\n"]`, `["é\u000a"]`, true},
		{"garbage behind", `[1]`, `[1] x`, false},
		{"recorded text is no JSON", `lab: not found`, `lab: not found`, true},
		{"recorded text is no JSON, differs", `lab: not found`, `lab: found`, false},
		{"metas are a set", `{"metas":[{"a":1},{"a":2}]}`, `{"metas":[{"a":2},{"a":1}]}`, true},
		{"metas are counted", `{"metas":[{"a":1},{"a":1}]}`, `{"metas":[{"a":1},{"a":2}]}`, false},
		{"metas have all", `{"metas":[{"a":1}]}`, `{"metas":[{"a":1},{"a":1}]}`, false},
		{"header names are a set", `{"sec_websocket_headers":["a","b"]}`, `{"sec_websocket_headers":["b","a"]}`, true},
		{"inside of a set there is order", `{"metas":[{"l":[1,2]}]}`, `{"metas":[{"l":[2,1]}]}`, false},
		{"repeat", `["${repeat:x:5}"]`, `["xxxxx"]`, true},
		{"repeat outside of a string", `[${repeat:1:3}]`, `[111]`, true},
		{"repeat, one short", `["${repeat:x:5}"]`, `["xxxx"]`, false},
		{"date is anything", `{"d":"${date}"}`, `{"d":[1]}`, true},
		{"placeholder", `["${token:1}"]`, `["abc"]`, true},
		{"placeholder is not empty", `["${token:1}"]`, `[""]`, false},
		{"placeholder is a string", `["${token:1}"]`, `[7]`, false},
		{"placeholder twice", `["${token:1}","${token:1}"]`, `["a","a"]`, true},
		{"placeholder twice, differs", `["${token:1}","${token:1}"]`, `["a","b"]`, false},
		{"two placeholders", `["${token:1}","${token:2}"]`, `["a","b"]`, true},
		{"two placeholders, one value", `["${token:1}","${token:2}"]`, `["a","a"]`, false},
		{"two kinds, one value", `["${token:1}","${phx_ref:1}"]`, `["a","a"]`, true},
		{"placeholder in a string", `["a=${token:1}&b"]`, `["a=xyz&b"]`, true},
		{"placeholder in a string, head differs", `["a=${token:1}&b"]`, `["b=xyz&b"]`, false},
		{"set needs the other way round", `{"metas":["${phx_ref:1}","x"],"z":"${phx_ref:1}"}`, `{"metas":["x","y"],"z":"y"}`, true},
		{"no way round", `{"metas":["${phx_ref:1}","x"],"z":"${phx_ref:1}"}`, `{"metas":["x","y"],"z":"x"}`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := same(tt.want, tt.got, nil); got != tt.same {
				t.Errorf("%s and %s are the same: %v, want %v", tt.want, tt.got, got, tt.same)
			}
			if tt.same != (difference(tt.want, tt.got, nil) == "") && strings.HasPrefix(tt.want, "[") {
				t.Errorf("difference %q", difference(tt.want, tt.got, nil))
			}
		})
	}
}

func TestDifferenceNamesThePlace(t *testing.T) {
	got := difference(`["1",{"response":{"a":[1,2]}}]`, `["1",{"response":{"a":[1,3]}}]`, nil)
	if want := "at $[1].response.a[1]: 3 is not 2"; got != want {
		t.Errorf("difference %q, want %q", got, want)
	}
}

func TestFill(t *testing.T) {
	var b *bindings
	b, ok := b.bind("token", "1", "abc")
	if !ok {
		t.Fatal("bind failed")
	}
	got, err := b.fill("vsn=2.0.0&token=${token:1}${repeat:x:3}")
	if err != nil || got != "vsn=2.0.0&token=abcxxx" {
		t.Errorf("fill = %q, %v", got, err)
	}
	if _, err := b.fill("${token:2}"); err == nil {
		t.Error("fill of a placeholder without a value succeeded")
	}
}

func TestCompareExtensions(t *testing.T) {
	const d = "permessage-deflate"
	tests := []struct {
		name, offer, recorded, answer string
		ok                            bool
	}{
		{"none", "", "", "", true},
		{"accepted", d, d, d, true},
		{"declined", d, d, "", false},
		{"accepted but recorded declined", d, "", d, false},
		{"server gives up takeover", d, d, d + "; server_no_context_takeover", true},
		{"client told to", d, d, d + ";client_no_context_takeover", true},
		{"takeover asked for", d + "; server_no_context_takeover", d, d, false},
		{"takeover given", d + "; server_no_context_takeover", d, d + ";server_no_context_takeover", true},
		{"takeover with a value", d, d, d + "; server_no_context_takeover=1", false},
		{"client bits not offered", d, d, d + "; client_max_window_bits=10", false},
		{"client bits offered", d + "; client_max_window_bits", d, d + "; client_max_window_bits=10", true},
		{"client bits above", d + "; client_max_window_bits=9", d, d + "; client_max_window_bits=10", false},
		{"client bits without a number", d + "; client_max_window_bits", d, d + "; client_max_window_bits", false},
		{"server bits free", d, d, d + "; server_max_window_bits=12", true},
		{"server bits asked for", d + "; server_max_window_bits=10", d, d, false},
		{"server bits above", d + "; server_max_window_bits=10", d, d + "; server_max_window_bits=11", false},
		{"server bits below", d + "; server_max_window_bits=10", d, d + "; server_max_window_bits=\"9\"", true},
		{"server bits may be declined", d + "; server_max_window_bits=10", d, "", true},
		{"only the first asks", d + "; server_max_window_bits=10, " + d, d, "", false},
		{"second alternative", d + "; server_max_window_bits=10, " + d, d, d, true},
		{"bits out of range", d, d, d + "; server_max_window_bits=16", false},
		{"bits with a zero", d, d, d + "; server_max_window_bits=09", false},
		{"unknown parameter", d, d, d + "; foo=1", false},
		{"twice", d, d, d + "; server_max_window_bits=9; server_max_window_bits=9", false},
		{"two extensions", d, d, d + ", " + d, false},
		{"never offered", d, d, "x-other", false},
		{"old name", webkitName, webkitName, webkitName, true},
		{"old name declined", webkitName, webkitName, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := compareExtensions(tt.offer, tt.recorded, tt.answer); (err == nil) != tt.ok {
				t.Errorf("offer %q, answer %q: %v, want ok %v", tt.offer, tt.answer, err, tt.ok)
			}
		})
	}
}
