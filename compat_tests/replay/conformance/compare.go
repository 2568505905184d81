package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/big"
	"sort"
	"strconv"
	"strings"
)

// parseJSON parses a JSON value. Numbers stay as they are written, and of two equal keys
// the last one counts (FORMAT.md section 5).
func parseJSON(text string) (any, error) {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("extra text after the value")
	}
	return v, nil
}

// matchMessage compares a recorded text (message or body) with a received one, as data if
// the recorded one is JSON, and as text otherwise.
func matchMessage(want, got string, b *bindings, yield func(*bindings) bool) bool {
	want = expandRepeat(want)
	wantValue, err := parseJSON(want)
	if err != nil {
		return b.matchText(want, got, yield)
	}
	gotValue, err := parseJSON(got)
	if err != nil {
		return false
	}
	return matchValue(wantValue, gotValue, "", b, yield)
}

// isSet reports whether the order of an array under this key is irrelevant.
func isSet(key string) bool { return key == "metas" || key == "sec_websocket_headers" }

// matchValue compares parsed JSON. key is the object key of the value. It yields the
// bindings of each way in which the two are the same, until yield returns true, and
// reports whether it did.
func matchValue(want, got any, key string, b *bindings, yield func(*bindings) bool) bool {
	switch w := want.(type) {
	case string:
		if w == "${date}" || w == "${any}" {
			return yield(b)
		}
		g, ok := got.(string)
		return ok && b.matchText(w, g, yield)
	case json.Number:
		g, ok := got.(json.Number)
		return ok && sameNumber(string(w), string(g)) && yield(b)
	case []any:
		g, ok := got.([]any)
		if !ok || len(w) != len(g) {
			return false
		}
		if isSet(key) {
			return matchSet(w, g, b, yield)
		}
		return matchList(w, g, b, yield)
	case map[string]any:
		g, ok := got.(map[string]any)
		return ok && sameKeys(w, g) && matchKeys(sortedKeys(w), w, g, b, yield)
	default: // true, false, null
		return want == got && yield(b)
	}
}

func matchList(want, got []any, b *bindings, yield func(*bindings) bool) bool {
	if len(want) == 0 {
		return yield(b)
	}
	return matchValue(want[0], got[0], "", b, func(b *bindings) bool {
		return matchList(want[1:], got[1:], b, yield)
	})
}

func matchSet(want, got []any, b *bindings, yield func(*bindings) bool) bool {
	if len(want) == 0 {
		return yield(b)
	}
	for i := range got {
		rest := append(append([]any{}, got[:i]...), got[i+1:]...)
		stop := matchValue(want[0], got[i], "", b, func(b *bindings) bool {
			return matchSet(want[1:], rest, b, yield)
		})
		if stop {
			return true
		}
	}
	return false
}

func matchKeys(keys []string, want, got map[string]any, b *bindings, yield func(*bindings) bool) bool {
	if len(keys) == 0 {
		return yield(b)
	}
	k := keys[0]
	return matchValue(want[k], got[k], k, b, func(b *bindings) bool {
		return matchKeys(keys[1:], want, got, b, yield)
	})
}

func sameKeys(a, b map[string]any) bool {
	if len(a) != len(b) {
		return false
	}
	for k := range a {
		if _, ok := b[k]; !ok {
			return false
		}
	}
	return true
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// maxExponent prevents 1e999999999 from being expanded to an integer.
const maxExponent = 5000

// sameNumber compares a recorded number with a received one: integers by their exact
// value, however they are written, and other numbers as 64-bit floats.
func sameNumber(want, got string) bool {
	if strings.ContainsAny(want, ".eE") {
		w, errW := strconv.ParseFloat(want, 64)
		g, errG := strconv.ParseFloat(got, 64)
		return errW == nil && errG == nil && math.Float64bits(w) == math.Float64bits(g)
	}
	if i := strings.IndexAny(got, "eE"); i >= 0 {
		e, err := strconv.Atoi(got[i+1:])
		if err != nil || e > maxExponent || e < -maxExponent {
			return false
		}
	}
	w, okW := new(big.Rat).SetString(want)
	g, okG := new(big.Rat).SetString(got)
	return okW && okG && w.Cmp(g) == 0
}

// same reports whether two texts can be the same under b.
func same(want, got string, b *bindings) bool {
	return matchMessage(want, got, b, func(*bindings) bool { return true })
}

// difference returns where two texts differ, for people who read a failure, or "".
func difference(want, got string, b *bindings) string {
	w, errW := parseJSON(expandRepeat(want))
	g, errG := parseJSON(got)
	switch {
	case errW != nil:
		return ""
	case errG != nil:
		return "the received text is not JSON: " + errG.Error()
	}
	return valueDifference("$", w, g, "", b)
}

func valueDifference(path string, want, got any, key string, b *bindings) string {
	ok := func(w, g any, k string) bool {
		return matchValue(w, g, k, b, func(*bindings) bool { return true })
	}
	switch w := want.(type) {
	case []any:
		g, is := got.([]any)
		if !is || len(g) != len(w) || isSet(key) {
			break
		}
		for i := range w {
			if !ok(w[i], g[i], "") {
				return valueDifference(fmt.Sprintf("%s[%d]", path, i), w[i], g[i], "", b)
			}
		}
	case map[string]any:
		g, is := got.(map[string]any)
		if !is || !sameKeys(w, g) {
			break
		}
		for _, k := range sortedKeys(w) {
			if !ok(w[k], g[k], k) {
				return valueDifference(path+"."+k, w[k], g[k], k, b)
			}
		}
	}
	if ok(want, got, key) {
		return ""
	}
	return fmt.Sprintf("at %s: %s is not %s", path, shortJSON(got), shortJSON(want))
}

func shortJSON(v any) string {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	return short(strings.TrimSuffix(buf.String(), "\n"))
}

// short shortens a text for an error.
func short(s string) string {
	const most = 400
	if len(s) <= most {
		return s
	}
	return fmt.Sprintf("%s… (%d bytes)", strings.ToValidUTF8(s[:most], "?"), len(s))
}
