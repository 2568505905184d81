package longpoll

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

var (
	vectorKey   = bytes.Repeat([]byte{7}, keySize)
	vectorToken = Token{Node: 0x0102030405060708, Session: SessionID{0: 0xaa, 15: 0xbb}, Issued: time.UnixMilli(1_700_000_000_123)}
)

// The bytes of a token do not change: clients have tokens for two weeks.
const vectorText = "AQECAwQFBgcIqgAAAAAAAAAAAAAAAAAAuwAAAYvP5Wh7-UcP38-B8hfDAy6zskZt8Po_zQMlz2fgxxppEp458Tk"

func TestTokenVector(t *testing.T) {
	if got := NewSigner(vectorKey).Sign(vectorToken); got != vectorText {
		t.Errorf("Sign = %s, want %s", got, vectorText)
	}
}

func TestTokenRoundTrip(t *testing.T) {
	s := NewSigner(nil)
	now := time.UnixMilli(1_800_000_000_000)
	want := Token{Node: 1<<64 - 1, Session: NewSessionID(), Issued: now.Add(-time.Hour)}
	got, err := s.Verify(s.Sign(want), now, time.Hour)
	if err != nil || !got.Issued.Equal(want.Issued) || got.Node != want.Node || got.Session != want.Session {
		t.Errorf("Verify = %+v, %v; want %+v", got, err, want)
	}
}

func TestTokenStale(t *testing.T) {
	s := NewSigner(nil)
	now := time.UnixMilli(1_800_000_000_000)
	token := s.Sign(Token{Issued: now})
	if _, err := s.Verify(token, now.Add(time.Hour+time.Millisecond), time.Hour); err != ErrStale {
		t.Errorf("a millisecond too old: %v", err)
	}
}

// Every change of a token, in any of its bits, is noticed.
func TestTokenForged(t *testing.T) {
	s := NewSigner(vectorKey)
	verify := func(token string) error {
		_, err := s.Verify(token, vectorToken.Issued, time.Hour)
		return err
	}
	if err := verify(vectorText); err != nil {
		t.Fatal(err)
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for i := range vectorText {
		for _, c := range alphabet {
			if forged := vectorText[:i] + string(c) + vectorText[i+1:]; forged != vectorText && verify(forged) != ErrForged {
				t.Errorf("taken: %s", forged)
			}
		}
	}
	for name, forged := range map[string]string{
		"empty": "", "word": "nope", "cut": vectorText[:len(vectorText)-1], "longer": vectorText + "A",
		"padded": vectorText + "==", "other key": NewSigner(nil).Sign(vectorToken),
		"key that is longer": NewSigner(append(bytes.Clone(vectorKey), 7)).Sign(vectorToken),
		"line break":         vectorText[:len(vectorText)-1] + "\n",
		"zeros":              strings.Repeat("A", len(vectorText)),
	} {
		if err := verify(forged); err != ErrForged {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSessionIDsDiffer(t *testing.T) {
	seen := make(map[SessionID]bool)
	for range 1000 {
		seen[NewSessionID()] = true
	}
	if len(seen) != 1000 {
		t.Errorf("%d different ids of 1000", len(seen))
	}
}

// Nothing but what Sign wrote is taken, and never does Verify panic.
func FuzzToken(f *testing.F) {
	s := NewSigner(vectorKey)
	f.Add(vectorText)
	f.Add(strings.ToLower(vectorText))
	f.Add("")
	f.Fuzz(func(t *testing.T, token string) {
		got, err := s.Verify(token, vectorToken.Issued, time.Hour)
		if err == nil && s.Sign(got) != token {
			t.Errorf("taken: %q, which is no spelling of %+v", token, got)
		}
	})
}
