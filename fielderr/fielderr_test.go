package fielderr

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
)

func TestList(t *testing.T) {
	var wrong List
	if err := wrong.Err(); err != nil {
		t.Errorf("an empty list is the error %v", err)
	}
	wrong.Add("", "has nothing to do")
	wrong.Add("/seats", "is %d: it must be at least %d", 1, 2)
	var all List
	all.AddBelow("/config", wrong)
	err := fmt.Errorf("instances: %w", all.Err())
	const want = "instances: /config has nothing to do; /config/seats is 1: it must be at least 2"
	var found List
	if err.Error() != want || !errors.As(err, &found) || len(found) != 2 {
		t.Errorf("%v (%d fields)\nwant %s", err, len(found), want)
	}
	if got := wrong[0].Error(); got != "the value has nothing to do" {
		t.Error(got)
	}
	text, err := json.Marshal(New("/a"+"/"+Escape("b/~c"), "is %q", "x"))
	if want := `[{"field":"/a/b~1~0c","reason":"is \"x\""}]`; err != nil || string(text) != want {
		t.Errorf("%s, %v, want %s", text, err, want)
	}
}
