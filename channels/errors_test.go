package channels

import (
	"encoding/json"
	"testing"
)

// TestReplyErrorText: the text that a log shows for errors for clients.
func TestReplyErrorText(t *testing.T) {
	var none *ReplyError
	for want, err := range map[string]error{
		"channels: no error":                            none,
		"channels: error reply: room 7 is full":         Errorf("room %d is full", 7),
		`channels: error reply {"code":7}`:              &ReplyError{Response: json.RawMessage(`{"code":7}`)},
		"channels: error reply map[code:7 reason:full]": &ReplyError{Response: map[string]string{"reason": "full", "code": "7"}},
		"channels: error reply <nil>":                   &ReplyError{},
	} {
		if got := err.Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
