package packet

import (
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/internal/websocket"
)

func headOf(body string) (*websocket.Request, *Request, error) {
	r, head := new(Request), new(websocket.Request)
	if err := r.Parse([]byte(body)); err != nil {
		return nil, nil, err
	}
	return head, r, r.Head(head)
}

func TestRequest(t *testing.T) {
	head, r, err := headOf(`{"path": "/socket//%77ebsocket?a=1", "params": {"token": "ä&=+", "n": 12.5, "on": true, "deep[x]": "y"},
		"headers": {"user-agent": "sensor/1", "Host": "example.com:1"}, "token": "t"}`)
	if err != nil {
		t.Fatal(err)
	}
	query, err := url.ParseQuery(head.RawQuery)
	if want := (url.Values{"a": {"1"}, "token": {"ä&=+"}, "n": {"12.5"}, "on": {"true"}, "deep[x]": {"y"}, "vsn": {"2.0.0"}}); err != nil || !reflect.DeepEqual(query, want) {
		t.Errorf("query %v, %v; want %v", query, err, want)
	}
	if head.Method != http.MethodGet || head.Path != "/socket/websocket" || head.Host != "example.com:1" || *r.Token != "t" {
		t.Errorf("head %+v", head)
	}
	if want := (http.Header{"User-Agent": {"sensor/1"}, "Host": {"example.com:1"}}); !reflect.DeepEqual(head.Header, want) {
		t.Errorf("header %v", head.Header)
	}
}

// A client may ask for another version of the protocol, anywhere.
func TestVersion(t *testing.T) {
	for body, want := range map[string]string{
		`{"path":"/s"}`:                            "vsn=2.0.0",
		`{"path":"/s?"}`:                           "vsn=2.0.0",
		`{"path":"/s?a=b"}`:                        "a=b&vsn=2.0.0",
		`{"path":"/s?vsn=1.0.0"}`:                  "vsn=1.0.0",
		`{"path":"/s?%76sn"}`:                      "%76sn",
		`{"path":"/s?vsn[]=1.0.0"}`:                "vsn[]=1.0.0",
		`{"path":"/s","params":{"vsn":"1.0.0"}}`:   "vsn=1.0.0",
		`{"path":"/s?a=%zz","params":{"b":"c d"}}`: "a=%zz&b=c+d&vsn=2.0.0",
	} {
		if head, _, err := headOf(body); err != nil || head.RawQuery != want {
			t.Errorf("%s: %v, %v; want %s", body, head, err, want)
		}
	}
}

func TestMalformedRequests(t *testing.T) {
	for body, status := range map[string]int{
		``:                                  400,
		`[]`:                                400,
		`{}`:                                400,
		`{"path":""}`:                       400,
		`{"path":7}`:                        400,
		`{"path":"/s"} x`:                   400,
		`{"path":"/s","topic":"room:1"}`:    400, // unknown field
		`{"path":"/s","params":[]}`:         400,
		`{"path":"/s","params":{"a":{}}}`:   400,
		`{"path":"/s","params":{"a":null}}`: 400,
		`{"path":"/s","headers":{"a":1}}`:   400,
		`{"path":"/s","headers":{"a":"1\r\nb: 2"}}`:     400,
		`{"path":"/s","headers":{"a b":"1"}}`:           400,
		`{"path":"/s","headers":{"":"1"}}`:              400,
		`{"path":"/s","headers":{"a":"1","A":"2"}}`:     400,
		`{"path":"/s","headers":{"host":"a/b"}}`:        400,
		`{"path":"socket"}`:                             400,
		`{"path":"/s t"}`:                               400,
		`{"path":"/%zz"}`:                               400,
		"{\"path\":\"/\xff\"}":                          400,
		`{"path":"/s","headers":{` + fields(101) + `}}`: 431,
	} {
		_, _, err := headOf(body)
		var wrong *websocket.HandshakeError
		if !errors.As(err, &wrong) || wrong.Status != status {
			t.Errorf("%.60s: %v, want status %d", body, err, status)
		}
	}
	if _, _, err := headOf(`{"path":"/s","headers":{` + fields(100) + `}}`); err != nil {
		t.Error(err)
	}
}

// The reason says what is wrong, and what would be right.
func TestReasons(t *testing.T) {
	for body, want := range map[string]string{
		`{"params":{}}`:                          `"path" is missing or empty`,
		`{"path":"/s","parms":{}}`:               `unknown key "parms"`,
		`{"PATH":"/s","path":"/s"}`:              `unknown key "PATH"`,
		`{"path":"/s","params":{"a":{}}}`:        `wrong value of "params"`,
		`{"path":"/s"`:                           "the connect is not a JSON object",
		`null`:                                   `"path" is missing or empty`,
		"{\"path\":\"/\xff\"}":                   "the connect is not UTF-8",
		`{"` + strings.Repeat("x", 500) + `":1}`: `unknown key "` + strings.Repeat("x", maxShown) + `"`,
	} {
		_, _, err := headOf(body)
		var wrong *websocket.HandshakeError
		if !errors.As(err, &wrong) || wrong.Reason != want+"; "+form {
			t.Errorf("%.60s: %v, want %q", body, err, want)
		}
	}
}

// fields returns n members of a JSON object.
func fields(n int) string {
	var list []string
	for i := range n {
		list = append(list, `"a`+strings.Repeat("b", i)+`":"x"`)
	}
	return strings.Join(list, ",")
}

// A request that is sent on reads the same at the other end.
func TestRequestIsSentOn(t *testing.T) {
	head, r, err := headOf(`{"path":"/s?a=1","params":{"b":"<>","c":2},"headers":{"x-secret":"forged","Y":"z"},"token":""}`)
	if err != nil {
		t.Fatal(err)
	}
	r.SetHeader("X-Secret", "true")
	sent, err := AppendRequest(nil, r)
	if err != nil {
		t.Fatal(err)
	}
	if end, err := FirstEnd(sent, 1000); err != nil || end != len(sent) {
		t.Fatalf("end %d of %d, %v", end, len(sent), err)
	}
	again, r2, err := headOf(string(sent[HeaderSize:]))
	if err != nil {
		t.Fatal(err)
	}
	head.Header = http.Header{"X-Secret": {"true"}, "Y": {"z"}}
	if !reflect.DeepEqual(again, head) || r2.Token == nil || *r2.Token != "" {
		t.Errorf("%+v, want %+v", again, head)
	}
	bare := new(Request)
	if bare.SetHeader("A", "b"); bare.Headers["A"] != "b" {
		t.Errorf("headers %v", bare.Headers)
	}
}

func TestFirstEnd(t *testing.T) {
	whole := Append(nil, Connect, []byte("{}"))
	for n := range len(whole) {
		if end, err := FirstEnd(whole[:n], 2); end != 0 || err != nil {
			t.Errorf("%d bytes: %d, %v", n, end, err)
		}
	}
	if end, err := FirstEnd(append(whole, 0), 2); end != len(whole) || err != nil {
		t.Errorf("whole: %d, %v", end, err)
	}
	for data, want := range map[string]error{
		"\x00\x00\x00\x04":       ErrConnectTooLarge,
		"\x00\xff\xff\xff":       ErrConnectTooLarge,
		"\x01":                   ErrNoConnect,
		"\xff\xff\xff\xff":       ErrNoConnect,
		"\x00\x00\x00\x00":       ErrNoConnect,
		"\x00\x00\x00\x03\x01":   ErrNoConnect,
		"\x00\x00\x00\x03\x03":   nil,
		"\x00\x00\x00\x03\x03{}": nil,
	} {
		if _, err := FirstEnd([]byte(data), 2); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", data, err, want)
		}
	}
}

// No body makes the parser panic, and what it accepts can be sent on.
func FuzzRequest(f *testing.F) {
	f.Add(`{"path":"/socket/websocket?a=b","params":{"token":"t","n":1},"headers":{"A":"b"},"token":"x"}`)
	f.Add(`{"path":"*"}`)
	f.Fuzz(func(t *testing.T, body string) {
		head, r, err := headOf(body)
		if err != nil {
			return
		}
		sent, err := AppendRequest(nil, r)
		if err != nil {
			t.Fatal(err)
		}
		again, _, err := headOf(string(sent[HeaderSize:]))
		if err != nil || again.Path != head.Path || again.RawQuery != head.RawQuery || !reflect.DeepEqual(again.Header, head.Header) {
			t.Errorf("%q: %+v, %v; want %+v", body, again, err, head)
		}
	})
}
