package wire

import (
	"errors"
	"strings"
)

// Dialect picks the serializer for a client by what the client asks for when it
// connects. Its error, which should be or wrap [ErrVersion], refuses the client.
//
// A dialect is called once a connection, from any goroutine, and must not block.
// It returns one of a few serializers, which are values that can be compared with
// == (equal ones are taken for the same), so a struct without fields is best.
type Dialect func(Offer) (Serializer, error)

// Offer is what a client that connects asks for.
type Offer struct {
	Version    string // the query's vsn
	HasVersion bool   // whether the query has a vsn
	TextOnly   bool   // the transport (long polling) cannot carry binary messages to the client
}

// ErrVersion is the error for a vsn that a dialect does not speak. Phoenix refuses such a
// client with 403.
var ErrVersion = errors.New("wire: unsupported protocol version")

// Phoenix is the dialect of Phoenix itself, [V1] and [V2]. A vsn that is absent means 1.0.0, an
// empty one is refused. Phoenix matches "~> 1.0.0" and "~> 2.0.0": any patch level, build metadata
// allowed, pre-releases not. The error is [ErrVersion].
func Phoenix(o Offer) (Serializer, error) {
	if !o.HasVersion {
		return V1{}, nil
	}
	core, build, hasBuild := strings.Cut(o.Version, "+")
	if hasBuild && !isBuild(build) || len(core) < len("1.0.0") || !isVersionNumber(core[len("1.0."):]) {
		return nil, ErrVersion
	}
	switch core[:len("1.0.")] {
	case "1.0.":
		return V1{}, nil
	case "2.0.":
		return V2{}, nil
	default:
		return nil, ErrVersion
	}
}

// isVersionNumber reports whether s is digits without a leading zero.
func isVersionNumber(s string) bool {
	return s != "" && (s == "0" || s[0] != '0') && strings.Trim(s, "0123456789") == ""
}

// isBuild reports whether s is identifiers of letters, digits and hyphens, separated by dots, none of them empty.
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
