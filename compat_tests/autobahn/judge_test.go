package autobahn

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// result is Autobahn's result of a case.
type result struct {
	Behavior        string `json:"behavior"`
	BehaviorClose   string `json:"behaviorClose"`
	RemoteCloseCode int    `json:"remoteCloseCode"` // 0 if there is none
	Duration        int    `json:"duration"`        // in ms
}

// Autobahn's words for an outcome that is not wrong.
const (
	passed        = "OK"
	informational = "INFORMATIONAL"
	nonStrict     = "NON-STRICT"
)

// section is a chapter of the suite. (8 and 11 have no cases.)
type section struct {
	number int
	title  string
	cases  int // so that a missing case is noticed
}

var sections = []section{
	{1, "Framing", 16},
	{2, "Pings and pongs", 11},
	{3, "Reserved bits", 7},
	{4, "Opcodes", 10},
	{5, "Fragmentation", 20},
	{6, "UTF-8", 145},
	{7, "Closing", 37},
	{9, "Limits and performance", 54},
	{10, "Automatic fragmentation", 1},
	{12, "Compression, different payloads", 90},
	{13, "Compression, different parameters", 126},
}

// nonStrictReasons has the reason for each case that may be NON-STRICT: an answer that the
// specifications allow, although Autobahn prefers another. A case that is OK must not be in
// this table.
var nonStrictReasons = map[string]string{}

// informed has cases that the specifications leave open: the code of our Close frame, and
// why.
var informed = map[string]struct {
	code   int
	reason string
}{
	"7.1.6":  {1000, "a Close frame after a message of 256 KiB: the echo comes first, then the answer with the code that was sent"},
	"7.13.1": {1002, "close code 5000: nobody may use it (RFC 6455, 7.4.2)"},
	"7.13.2": {1002, "close code 65535: the same"},
}

// judge returns what is wrong with the results of the cases that match patterns.
func judge(results map[string]result, patterns []string) (wrong []string) {
	for _, id := range byNumber(results) {
		if why := judgeCase(id, results[id]); why != "" {
			wrong = append(wrong, "case "+id+": "+why)
		}
	}
	for _, pattern := range patterns {
		want, got := 1, 0
		for _, s := range sections {
			if pattern == s.pattern() {
				want = s.cases
			}
		}
		for id := range results {
			if matched, _ := path.Match(pattern, id); matched {
				got++
			}
		}
		if got != want {
			wrong = append(wrong, fmt.Sprintf("%d of the %d cases of %s were run", got, want, pattern))
		}
	}
	return wrong
}

// judgeCase returns what is wrong with one result, or "".
func judgeCase(id string, r result) string {
	reason, excused := nonStrictReasons[id]
	info, open := informed[id]
	switch {
	case r.Behavior == nonStrict && !excused:
		return "NON-STRICT, without a reason in nonStrictReasons"
	case r.Behavior != nonStrict && excused:
		return fmt.Sprintf("%s, but nonStrictReasons has a reason for it: %s", r.Behavior, reason)
	case r.Behavior == informational && !open:
		return "INFORMATIONAL, but informed does not say what is expected"
	case open && r.RemoteCloseCode != info.code:
		return fmt.Sprintf("close code %d, expected %d", r.RemoteCloseCode, info.code)
	case !slices.Contains([]string{passed, nonStrict, informational}, r.Behavior):
		return "behaves: " + r.Behavior
	case r.BehaviorClose != passed && (r.BehaviorClose != informational || !open):
		return "closing: " + r.BehaviorClose
	}
	return ""
}

func (s section) pattern() string { return strconv.Itoa(s.number) + ".*" }

// byNumber returns the names of cases in order, 2.1 before 10.1.
func byNumber[V any](cases map[string]V) []string {
	return slices.SortedFunc(maps.Keys(cases), func(a, b string) int {
		return slices.CompareFunc(strings.Split(a, "."), strings.Split(b, "."), func(a, b string) int {
			m, _ := strconv.Atoi(a)
			n, _ := strconv.Atoi(b)
			return cmp.Compare(m, n)
		})
	})
}

func TestJudge(t *testing.T) {
	nonStrictReasons["6.4.9"] = "a reason"
	defer delete(nonStrictReasons, "6.4.9")
	for _, c := range []struct {
		id    string
		r     result
		wrong string
	}{
		{"1.1.1", result{Behavior: "OK", BehaviorClose: "OK"}, ""},
		{"1.1.1", result{Behavior: "FAILED", BehaviorClose: "OK"}, "FAILED"},
		{"1.1.1", result{Behavior: "UNIMPLEMENTED", BehaviorClose: "OK"}, "UNIMPLEMENTED"},
		{"1.1.1", result{Behavior: "NON-STRICT", BehaviorClose: "OK"}, "without a reason"},
		{"1.1.1", result{Behavior: "INFORMATIONAL", BehaviorClose: "OK"}, "does not say"},
		{"1.1.1", result{Behavior: "OK", BehaviorClose: "UNCLEAN"}, "closing: UNCLEAN"},
		{"1.1.1", result{Behavior: "OK", BehaviorClose: "WRONG CODE"}, "closing: WRONG CODE"},
		{"1.1.1", result{Behavior: "OK", BehaviorClose: "FAILED BY CLIENT"}, "closing: FAILED BY CLIENT"},
		{"1.1.1", result{Behavior: "OK", BehaviorClose: "INFORMATIONAL"}, "closing: INFORMATIONAL"},
		{"1.1.1", result{}, "behaves: "},
		{"6.4.9", result{Behavior: "NON-STRICT", BehaviorClose: "OK"}, ""},
		{"6.4.9", result{Behavior: "NON-STRICT", BehaviorClose: "FAILED"}, "closing: FAILED"},
		{"6.4.9", result{Behavior: "OK", BehaviorClose: "OK"}, "has a reason"},
		{"7.13.1", result{Behavior: "INFORMATIONAL", BehaviorClose: "INFORMATIONAL", RemoteCloseCode: 1002}, ""},
		{"7.13.1", result{Behavior: "INFORMATIONAL", BehaviorClose: "INFORMATIONAL", RemoteCloseCode: 1000}, "close code 1000"},
	} {
		wrong := judge(map[string]result{c.id: c.r}, []string{c.id})
		if c.wrong == "" && len(wrong) > 0 || c.wrong != "" && (len(wrong) != 1 || !strings.Contains(wrong[0], c.wrong)) {
			t.Errorf("%s %+v: %q, want %q", c.id, c.r, wrong, c.wrong)
		}
	}
}

// TestJudgeCounts checks that a missing case is noticed.
func TestJudgeCounts(t *testing.T) {
	results := map[string]result{"10.1.1": {Behavior: passed, BehaviorClose: passed}}
	if wrong := judge(results, []string{"10.*"}); len(wrong) != 0 {
		t.Error(wrong)
	}
	for _, patterns := range [][]string{{"10.*", "1.*"}, {"10.*", "12.1.1"}} {
		if wrong := judge(results, patterns); len(wrong) != 1 || !strings.Contains(wrong[0], patterns[1]) {
			t.Errorf("%s: %q", patterns, wrong)
		}
	}
	if wrong := judge(nil, []string{"10.*"}); len(wrong) != 1 {
		t.Error(wrong)
	}
}
