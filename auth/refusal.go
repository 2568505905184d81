package auth

// Reason is why a token was refused, for logs. Clients are not told, except that
// NoKeys is answered with 503 and not with 403.
type Reason string

// The reasons.
const (
	Missing       Reason = "missing"        // there is no token
	Ambiguous     Reason = "ambiguous"      // there are two that differ
	Oversized     Reason = "oversized"      // longer than Options.MaxBytes
	Malformed     Reason = "malformed"      // it cannot be read, or a claim is not what it must be
	BadAlgorithm  Reason = "algorithm"      // signed by an algorithm that no key is for
	UnknownKey    Reason = "unknown key"    // names a key that there is not
	NoKeys        Reason = "no keys"        // a JWKS server has not answered yet; clients get 503
	BadSignature  Reason = "bad signature"  // signed by somebody else
	Expired       Reason = "expired"        // it was good once
	NotYetValid   Reason = "not yet valid"  // nbf is in the future
	WrongAudience Reason = "wrong audience" // aud is none of Options.Audience
	WrongIssuer   Reason = "wrong issuer"   // iss is not Options.Issuer
	MissingClaim  Reason = "missing claim"  // a claim that is needed is not there
	OtherSubject  Reason = "other subject"  // a renewed token is somebody else's
)

// RefusedError is a token that was refused.
type RefusedError struct {
	Reason Reason
	// Detail is more about it, for logs: never a part of a token but the names
	// of its algorithm and its key.
	Detail string
}

func (e *RefusedError) Error() string {
	if e.Detail == "" {
		return "auth: token refused: " + string(e.Reason)
	}
	return "auth: token refused: " + string(e.Reason) + ": " + e.Detail
}

func refused(reason Reason, detail string) *RefusedError { return &RefusedError{reason, detail} }
