package webhook

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestSignature has the example of the specification of Standard Webhooks.
func TestSignature(t *testing.T) {
	secret, err := ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1614265330, 0)
	body := []byte(`{"test": 2432232314}`)
	h := make(http.Header)
	secret.Sign(h, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, body)
	if got := h.Get(HeaderSignature); got != "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" {
		t.Errorf("signature %s", got)
	}
	other, err := ParseSecret(NewSecret())
	if err != nil {
		t.Fatal(err)
	}
	with := func(name, value string) http.Header {
		changed := h.Clone()
		changed.Set(name, value)
		return changed
	}
	for name, c := range map[string]struct {
		header  http.Header
		body    string
		at      time.Time
		secrets []Secret
		want    error
	}{
		"as sent":             {h, string(body), at, []Secret{secret}, nil},
		"the second secret":   {h, string(body), at, []Secret{other, secret}, nil},
		"the second of two":   {with(HeaderSignature, "v1,AAAA v2,x "+h.Get(HeaderSignature)), string(body), at, []Secret{secret}, nil},
		"another body":        {h, string(body) + " ", at, []Secret{secret}, ErrNotSigned},
		"another key":         {h, string(body), at, []Secret{other}, ErrNotSigned},
		"no key":              {h, string(body), at, nil, ErrNotSigned},
		"another id":          {with(HeaderID, "msg_1"), string(body), at, []Secret{secret}, ErrNotSigned},
		"another time":        {with(HeaderTimestamp, "1614265331"), string(body), at, []Secret{secret}, ErrNotSigned},
		"no time":             {with(HeaderTimestamp, ""), string(body), at, []Secret{secret}, ErrNotSigned},
		"no signature":        {with(HeaderSignature, ""), string(body), at, []Secret{secret}, ErrNotSigned},
		"an unknown scheme":   {with(HeaderSignature, strings.Replace(h.Get(HeaderSignature), "v1", "v0", 1)), string(body), at, []Secret{secret}, ErrNotSigned},
		"within tolerance":    {h, string(body), at.Add(Tolerance), []Secret{secret}, nil},
		"too old":             {h, string(body), at.Add(Tolerance + time.Second), []Secret{secret}, ErrTooOld},
		"from the future":     {h, string(body), at.Add(-Tolerance - time.Second), []Secret{secret}, ErrTooOld},
		"not base64":          {with(HeaderSignature, "v1,?"), string(body), at, []Secret{secret}, ErrNotSigned},
		"no header whatever":  {http.Header{}, string(body), at, []Secret{secret}, ErrNotSigned},
		"another secret, old": {h, string(body), at.Add(time.Hour), []Secret{other}, ErrNotSigned},
	} {
		if err := Verify(c.header, []byte(c.body), c.at, c.secrets...); err != c.want {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestParseSecret(t *testing.T) {
	for text, want := range map[string]string{
		NewSecret(): "",
		strings.TrimPrefix(NewSecret(), secretPrefix): "",
		"a password": "not base64",
		"":           "has 0 bytes",
		"c2hvcnQ=":   "has 5 bytes",
		"whsec_" + strings.Repeat("AAAA", maxSecret/3): "",
		"whsec_" + strings.Repeat("AAAA", 22):          "has 66 bytes",
	} {
		switch _, err := ParseSecret(text); {
		case want == "" && err != nil:
			t.Errorf("%q: %v", text, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
