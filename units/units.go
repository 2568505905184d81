// Package units has quantities as people write them: "90s", "64KiB". The specs and
// configurations of instances and the options of package auth use them, and the types
// of your own instances can.
package units

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Patterns of the texts of a Duration and of Bytes, for JSON schemas.
const (
	DurationPattern = `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`
	BytesPattern    = `^[0-9]+( *(B|[KMG]i?B))?$`
)

// Duration is a time.Duration that is text in JSON and YAML: "90s", "5m", "1h30m".
type Duration time.Duration

// String returns d as time.ParseDuration reads it, without the zeros that
// time.Duration.String adds: "1h", not "1h0m0s".
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText returns d.String().
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration: write it like \"90s\" or \"5m\"", text)
	}
	*d = Duration(parsed)
	return nil
}

// Bytes is a number of bytes. JSON may have it as a number, or as text with a unit:
// 65536 or "64KiB".
type Bytes int

const kib, mib, gib = 1 << 10, 1 << 20, 1 << 30

// byteUnits are tried in this order: all of them end in B.
var byteUnits = []struct {
	name  string
	bytes int
}{{"KiB", kib}, {"MiB", mib}, {"GiB", gib}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}}

// ParseBytes reads digits, which B, KB, MB, GB, KiB, MiB or GiB may follow. The error
// wraps strconv.ErrRange if an int does not hold the number.
func ParseBytes(text string) (Bytes, error) {
	digits, unit := text, 1
	for _, u := range byteUnits {
		if before, ok := strings.CutSuffix(text, u.name); ok {
			digits, unit = strings.TrimRight(before, " "), u.bytes
			break
		}
	}
	n, err := strconv.Atoi(digits)
	switch {
	case errors.Is(err, strconv.ErrRange) || n*unit/unit != n:
		return 0, fmt.Errorf("%q is too large: %w", text, strconv.ErrRange)
	case err != nil, strings.HasPrefix(digits, "+"):
		return 0, fmt.Errorf("%q is not a size: write it like 65536 or \"64KiB\"", text)
	}
	return Bytes(n * unit), nil
}

// String returns b in the largest binary unit of which it is a multiple: "64KiB".
func (b Bytes) String() string {
	for i := 2; i >= 0; i-- {
		if u := byteUnits[i]; int(b) >= u.bytes && int(b)%u.bytes == 0 {
			return strconv.Itoa(int(b)/u.bytes) + u.name
		}
	}
	return strconv.Itoa(int(b))
}

// UnmarshalJSON reads a whole number, or text as ParseBytes reads it.
func (b *Bytes) UnmarshalJSON(text []byte) error {
	if bytes.Equal(text, []byte("null")) {
		return nil
	}
	words := string(text)
	if strings.HasPrefix(words, `"`) {
		if err := json.Unmarshal(text, &words); err != nil {
			return err
		}
	}
	parsed, err := ParseBytes(words)
	if err == nil {
		*b = parsed
	}
	return err
}
