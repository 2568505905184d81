package auth

// Reason is why a token was refused, for logs. Clients are not told, except
// that NoKeys is answered with 503 instead of 403.
type Reason string

// The reasons.
const (
	Missing       Reason = "missing"        // there is no token
	Ambiguous     Reason = "ambiguous"      // there are two different tokens
	Oversized     Reason = "oversized"      // longer than Options.MaxBytes
	Malformed     Reason = "malformed"      // it cannot be parsed, or a claim has a wrong type
	BadAlgorithm  Reason = "algorithm"      // signed with an algorithm that no key is for
	UnknownKey    Reason = "unknown key"    // it names an unknown key
	NoKeys        Reason = "no keys"        // a JWKS server has not answered yet; clients get 503
	BadSignature  Reason = "bad signature"  // signed with another key, or changed
	Expired       Reason = "expired"        // exp has passed
	NotYetValid   Reason = "not yet valid"  // nbf is in the future
	WrongAudience Reason = "wrong audience" // aud has none of Options.Audience
	WrongIssuer   Reason = "wrong issuer"   // iss is not Options.Issuer
	MissingClaim  Reason = "missing claim"  // it lacks a required claim
	RevokedToken  Reason = "revoked"        // it was revoked
	OtherSubject  Reason = "other subject"  // a renewal with another user's token
)

// RefusedError reports that a token was refused.
type RefusedError struct {
	Reason Reason
	// Detail says more about it, for logs. Of the token it contains at most the
	// names of its algorithm and its key.
	Detail string
}

func (e *RefusedError) Error() string {
	if e.Detail == "" {
		return "auth: token refused: " + string(e.Reason)
	}
	return "auth: token refused: " + string(e.Reason) + ": " + e.Detail
}

func refused(reason Reason, detail string) *RefusedError { return &RefusedError{reason, detail} }
