package units_test

import (
	"encoding/json"
	"errors"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/units"
)

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Hour: "1h", 90 * time.Second: "1m30s", time.Hour + time.Minute: "1h1m", 1500 * time.Millisecond: "1.5s",
		10 * time.Minute: "10m", time.Hour + time.Second: "1h0m1s", -time.Hour: "-1h", 2 * time.Minute: "2m",
	} {
		if got := units.Duration(d).String(); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
		var back units.Duration
		if text, err := json.Marshal(units.Duration(d)); err != nil || json.Unmarshal(text, &back) != nil || time.Duration(back) != d {
			t.Errorf("%v: %s is read as %v, %v", d, text, back, err)
		}
	}
	for text, want := range map[string]string{
		`"90"`:  `"90" is not a duration: write it like "90s" or "5m"`,
		`""`:    `"" is not a duration: write it like "90s" or "5m"`,
		`"day"`: `"day" is not a duration: write it like "90s" or "5m"`,
	} {
		var d units.Duration
		if err := json.Unmarshal([]byte(text), &d); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// TestPatterns: a schema takes what is read, but for signs.
func TestPatterns(t *testing.T) {
	durations, sizes := regexp.MustCompile(units.DurationPattern), regexp.MustCompile(units.BytesPattern)
	for _, text := range []string{"0s", "1h30m", "1.5s", "90", "", "1d", "64KiB", "64 KiB", "1MB", "5B", "7", "1TB", "1.5", "KiB", "1iB", "+5", "5 ", " 5KiB", "5  B", "5\tB"} {
		var d units.Duration
		if err := d.UnmarshalText([]byte(text)); (err == nil) != durations.MatchString(text) {
			t.Errorf("the pattern of durations does not fit %q: %v", text, err)
		}
		if _, err := units.ParseBytes(text); (err == nil) != sizes.MatchString(text) {
			t.Errorf("the pattern of sizes does not fit %q: %v", text, err)
		}
	}
}

func TestBytes(t *testing.T) {
	for text, want := range map[string]units.Bytes{
		`0`: 0, `65536`: 64 << 10, `"64KiB"`: 64 << 10, `"64 KiB"`: 64 << 10, `"1MB"`: 1_000_000, `"2GB"`: 2_000_000_000, `"3GiB"`: 3 << 30, `"5B"`: 5, `"7"`: 7, `-1`: -1, `null`: 0,
	} {
		var got units.Bytes
		if err := json.Unmarshal([]byte(text), &got); err != nil || got != want {
			t.Errorf("%s: %d, %v, want %d", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		`1.5`:   `"1.5" is not a size: write it like 65536 or "64KiB"`,
		`true`:  `"true" is not a size: write it like 65536 or "64KiB"`,
		`"1TB"`: `"1TB" is not a size: write it like 65536 or "64KiB"`,
		`""`:    `"" is not a size: write it like 65536 or "64KiB"`,
	} {
		var got units.Bytes
		if err := json.Unmarshal([]byte(text), &got); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	for _, text := range []string{"9223372036854775807GiB", "99999999999999999999"} {
		if n, err := units.ParseBytes(text); !errors.Is(err, strconv.ErrRange) {
			t.Errorf("%s: %d, %v", text, n, err)
		}
	}
	for n, want := range map[units.Bytes]string{0: "0", 1: "1", 1000: "1000", 1024: "1KiB", 1536: "1536", 4 << 20: "4MiB", 1 << 30: "1GiB", 3 << 29: "1536MiB"} {
		if got := n.String(); got != want {
			t.Errorf("%d: %s, want %s", int(n), got, want)
		}
		if back, err := units.ParseBytes(n.String()); err != nil || back != n {
			t.Errorf("%s is read as %d, %v", n, back, err)
		}
	}
	if text, err := json.Marshal(units.Bytes(64 << 10)); err != nil || string(text) != "65536" {
		t.Errorf("%s, %v: programs read a number", text, err)
	}
}
