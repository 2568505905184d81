package wire

import (
	"errors"
	"strings"
)

// Version is a version of the protocol.
type Version uint8

const (
	// V1 is version 1.0.0: JSON objects without join_ref, text only.
	V1 Version = 1
	// V2 is version 2.0.0: JSON arrays, and binary frames.
	V2 Version = 2
)

// ErrVersion is a vsn that no serializer speaks. Phoenix refuses such a socket with 403.
var ErrVersion = errors.New("wire: unsupported protocol version")

// String is the version as clients send it.
func (v Version) String() string {
	if v == V1 {
		return "1.0.0"
	}
	return "2.0.0"
}

// ParseVersion picks the version for the vsn of a connect query. Absent means 1.0.0, present and
// empty does not. Phoenix matches "~> 1.0.0" and "~> 2.0.0": any patch level, build metadata
// allowed, pre-releases not. The error is [ErrVersion].
func ParseVersion(vsn string, present bool) (Version, error) {
	if !present {
		return V1, nil
	}
	core, build, hasBuild := strings.Cut(vsn, "+")
	if hasBuild && !isBuild(build) || len(core) < len("1.0.0") || !isVersionNumber(core[len("1.0."):]) {
		return 0, ErrVersion
	}
	switch core[:len("1.0.")] {
	case "1.0.":
		return V1, nil
	case "2.0.":
		return V2, nil
	default:
		return 0, ErrVersion
	}
}

// isVersionNumber: digits, without a leading zero.
func isVersionNumber(s string) bool {
	return s != "" && (s == "0" || s[0] != '0') && strings.Trim(s, "0123456789") == ""
}

// isBuild: identifiers of letters, digits and hyphens, separated by dots, none empty.
func isBuild(s string) bool {
	for part := range strings.SplitSeq(s, ".") {
		if part == "" || strings.ContainsFunc(part, notBuildRune) {
			return false
		}
	}
	return true
}

func notBuildRune(r rune) bool {
	switch {
	case r >= '0' && r <= '9', r >= 'A' && r <= 'Z', r >= 'a' && r <= 'z', r == '-':
		return false
	default:
		return true
	}
}
