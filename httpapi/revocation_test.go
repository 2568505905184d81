package httpapi

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/auth"
)

func TestRevocations(t *testing.T) {
	now := time.Unix(1_900_000_000, 0)
	list, err := auth.OpenRevocations(auth.RevocationOptions{Max: 3, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { list.Close() }) // it has no file
	f := newFixture(t, Options{Revocations: list, Now: func() time.Time { return now }})
	want(t, f.call("POST", "/api/instances", `{"id":"a","type":"note"}`), 201)
	const at = "/api/instances/a/revocations"
	want(t, f.call("POST", at, `{"jti":"t-1"}`), 200, `{"jti":"t-1","expires":"2030-04-16T17:46:40Z"}`)
	want(t, f.call("POST", at, `{"user":"ada"}`), 200, `"issued_before":"2030-03-17T17:46:40Z"`)
	want(t, f.call("POST", at, `{"user":"bob","issued_before":"2030-01-01T00:00:00Z","expires":"2030-03-18T00:00:00+02:00"}`), 200,
		`{"user":"bob","issued_before":"2030-01-01T00:00:00Z","expires":"2030-03-17T22:00:00Z"}`)
	want(t, f.call("POST", at, `{"user":"carol"}`), 429, "auth.max_revocations")
	for body, part := range map[string]string{
		`{}`: "/user or jti", `{"user":"a","jti":"b"}`: "only one", `{"user":""}`: `"/user"`, `{"jti":""}`: `"/jti"`,
		`{"jti":"a","issued_before":"2030-01-01T00:00:00Z"}`: `"/issued_before"`, `{"user":"a","issued_before":"2031-01-01T00:00:00Z"}`: "future",
		`{"user":"a","issued_before":"yesterday"}`: `"/issued_before"`, `{"user":"a","expires":"2029-01-01T00:00:00Z"}`: `"/expires"`, `{"sub":"a"}`: "known fields",
	} {
		want(t, f.call("POST", at, body), 422, part)
	}
	want(t, f.call("POST", "/api/instances/b/revocations", `{"user":"a"}`), 404, "no instance")
	var got string
	for after, pages := "", 0; pages == 0 || after != ""; pages++ {
		var page Revocations
		if err := json.Unmarshal([]byte(want(t, f.call("GET", at+"?limit=2&after="+after, ""), 200)), &page); err != nil {
			t.Fatal(err)
		}
		for _, v := range page.Revocations {
			got += v.ID + v.User + " "
		}
		after = page.Next
	}
	if got != "t-1 ada bob " {
		t.Errorf("the pages have %q", got)
	}
	want(t, f.call("GET", "/api/instances/b/revocations", ""), 404)
	want(t, f.call("GET", at+"?limit=0", ""), 400)
	f = newFixture(t, Options{})
	want(t, f.call("POST", "/api/instances", `{"id":"a","type":"note"}`), 201)
	want(t, f.call("POST", at, `{"jti":"t-1"}`), 409, "cannot revoke")
	want(t, f.call("GET", at, ""), 409, "cannot revoke")
}
