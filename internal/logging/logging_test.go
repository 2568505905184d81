package logging

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 1, 2, 12, 0, 0, 34_567_890, time.FixedZone("", 3600))

func atLevel(t interface{ Fatal(...any) }, name string) *Level {
	level := new(Level)
	if err := level.Set(name); err != nil {
		t.Fatal(err)
	}
	return level
}

// TestLevelChanges: the loggers that were made of one follow it too.
func TestLevelChanges(t *testing.T) {
	var out bytes.Buffer
	level := new(Level) // info
	l, err := New(&out, level, "json", false)
	if err != nil {
		t.Fatal(err)
	}
	with := l.With().Str("a", "b").Logger()
	for _, c := range []struct{ level, want string }{{"", "inf wrn"}, {"debug", "dbg inf wrn"}, {"warn", "wrn"}, {"off", ""}, {"info", "inf wrn"}} {
		if c.level != "" {
			if err := level.Set(c.level); err != nil {
				t.Fatal(err)
			}
		}
		out.Reset()
		l.Debug().Msg("dbg")
		with.Info().Msg("inf")
		l.Warn().Msg("wrn")
		var got []string
		for line := range strings.Lines(out.String()) {
			var fields struct{ Message string }
			if err := json.Unmarshal([]byte(line), &fields); err != nil {
				t.Fatal(err)
			}
			got = append(got, fields.Message)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q, want %q", c.level, got, c.want)
		}
	}
}

// logTo returns a logger whose clock stands at noon.
func logTo(t *testing.T, w *bytes.Buffer, level, format string, isTerminal bool) zerolog.Logger {
	t.Helper()
	l, err := newLogger(w, atLevel(t, level), format, isTerminal, func() time.Time { return noon })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestFormats(t *testing.T) {
	const (
		asJSON = `{"level":"info","port":4000,"time":"2026-01-02T12:00:00.034+01:00","message":"listening"}` + "\n"
		plain  = "2026-01-02T12:00:00.034+01:00 INF listening port=4000\n"
	)
	for _, c := range []struct {
		format     string
		isTerminal bool
		want       string
		colours    bool
	}{
		{"auto", false, asJSON, false},
		{"auto", true, plain, true},
		{"json", true, asJSON, false},
		{"text", false, plain, false},
		{"text", true, plain, true},
	} {
		t.Setenv("NO_COLOR", "")
		var out bytes.Buffer
		logger := logTo(t, &out, "info", c.format, c.isTerminal)
		logger.Info().Int("port", 4000).Msg("listening")
		got := regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(out.String(), "")
		if got != c.want {
			t.Errorf("%s, terminal %v: %q, want %q", c.format, c.isTerminal, got, c.want)
		}
		if coloured := got != out.String(); coloured != c.colours {
			t.Errorf("%s, terminal %v: colours %v", c.format, c.isTerminal, coloured)
		}
	}
}

// TestStack: people read a stack as Go prints it, below the line; programs get it in the line.
func TestStack(t *testing.T) {
	const stack = "goroutine 1 [running]:\nmain.main()\n\t/src/main.go:5 +0x1d\n"
	for format, want := range map[string]string{
		"text": "ERR crashed panic=oops topic=room:1\n" + stack,
		"json": `"stack":"goroutine 1 [running]:\nmain.main()`,
	} {
		var out bytes.Buffer
		log := logTo(t, &out, "info", format, false)
		NewLog(&log).Error("crashed").Str("topic", "room:1").Panic("oops", []byte(stack)).Write()
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s: %q, want %q", format, out.String(), want)
		}
	}
}

func TestLevels(t *testing.T) {
	for level, want := range map[string]string{"debug": "dbg inf wrn err", "info": "inf wrn err", "warn": "wrn err", "error": "err", "off": ""} {
		var out bytes.Buffer
		l := logTo(t, &out, level, "json", false)
		l.Debug().Msg("dbg")
		l.Info().Msg("inf")
		l.Warn().Msg("wrn")
		l.Error().Msg("err")
		var got []string
		for line := range strings.Lines(out.String()) {
			var fields struct{ Message string }
			if err := json.Unmarshal([]byte(line), &fields); err != nil {
				t.Fatal(err)
			}
			got = append(got, fields.Message)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", level, got, want)
		}
	}
}

func TestWrongSettings(t *testing.T) {
	if _, err := New(&bytes.Buffer{}, new(Level), "xml", false); err == nil || err.Error() != `logging: format "xml" is not one of auto, text, json` {
		t.Error(err)
	}
	level := atLevel(t, "error")
	if err := level.Set("loud"); err == nil || err.Error() != `logging: level "loud" is not one of debug, info, warn, error, off` {
		t.Error(err)
	}
	if !level.Sample(zerolog.ErrorLevel) || level.Sample(zerolog.WarnLevel) {
		t.Error("a wrong level has changed the right one")
	}
}

func TestTimeIsNow(t *testing.T) {
	var out bytes.Buffer
	l, err := New(&out, atLevel(t, "info"), "json", false)
	if err != nil {
		t.Fatal(err)
	}
	before := time.Now().Truncate(time.Millisecond)
	l.Info().Msg("x")
	var line struct{ Time time.Time }
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	if line.Time.Before(before) || line.Time.After(time.Now()) {
		t.Errorf("time %v, written after %v", line.Time, before)
	}
}

func TestIsTerminal(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if IsTerminal(f) {
		t.Error("a file is no terminal")
	}
}

func TestPath(t *testing.T) {
	for u, want := range map[string]string{
		"":                                "",
		"/":                               "/",
		"/socket/websocket?token=x":       "/socket/websocket",
		"ws://u:p@h:1/socket?token=x#y":   "/socket",
		"https://h?token=x":               "/",
		"/a%20b":                          "/a b",
		"/socket%3Ftoken=x":               "/socket",
		"/socket%253Ftoken=x":             "/socket",
		"/socket;token=x":                 "/socket",
		"/socket&token=x":                 "/socket",
		"/%zz?token=x":                    "/%zz",
		"?token=x":                        "",
		"*":                               "*",
		"h:443":                           "h:443",
		"/" + strings.Repeat("ü", 200):    "/" + strings.Repeat("ü", 99) + "…",
		"/socket/SFMyNTY.g2gDYW.52OM6lJf": "/socket/…",
	} {
		if got := Path(u); got != want {
			t.Errorf("Path(%q) = %q, want %q", u, got, want)
		}
	}
}

func TestScrubLeavesTheRest(t *testing.T) {
	for _, text := range []string{
		"", "listening on [::1]:4000", "is that so? yes", "room:lobby joined by 127.0.0.1:3000",
		`{"level":"info","path":"/socket/websocket","topic":"room:lobby","took":1.5,"message":"joined"}`,
		"http: TLS handshake error from 127.0.0.1:5: EOF", "tokens are checked", "a basic thing", "mail a@b.c", "no token given",
		"goroutine 1 [running]:\nmain.main()\n\t/src/main.go:5 +0x1d",
	} {
		if got := Scrub(text); got != text {
			t.Errorf("Scrub(%q) = %q", text, got)
		}
	}
}

// leaky are texts with the secret s3cr3t as it may come to a log.
var leaky = []string{
	"/socket/websocket?token=s3cr3t", "/socket/websocket?vsn=2.0.0&userToken=s3cr3t&x=y",
	"ws://h/socket?s3cr3t", "wss://u:s3cr3t@h/socket", "http://s3cr3t@h/", "/socket%3Ftoken=s3cr3t",
	`/socket?a="s3cr3t`, `/socket?a='s3cr3t'`, `/socket?a=\s3cr3t`, "/socket?a=<s3cr3t>", "/socket?#s3cr3t", "/socket?ü=s3cr3t",
	"phoenix, base64url.bearer.phx.s3cr3t", "Authorization: Bearer s3cr3t", "map[Authorization:[Bearer s3cr3t]]",
	"authorization=basic s3cr3t", "map[X-Phoenix-Authtoken:[s3cr3t]]", "x-phoenix-longpoll-token: s3cr3t",
	"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.s3cr3t", "SFMyNTY.g2gDYWNuBgAAaOXPiwFiAAFRgA.s3cr3t", "SFM1MTI.s3cr3t.x",
	"token=s3cr3t", "&auth_token=s3cr3t", "API_KEY=s3cr3t", `{"token":"s3cr3t"}`, `{"user_token": "a\"s3cr3t"}`, `{"password":"s3cr3t"}`,
	`password: "correct s3cr3t"`, "Cookie: a=b; c=s3cr3t", "map[Cookie:[a=b; s3cr3t]]",
}

func TestScrubHides(t *testing.T) {
	for _, text := range leaky {
		if got := Scrub(text); strings.Contains(got, "s3cr3t") {
			t.Errorf("Scrub(%q) = %q", text, got)
		}
	}
}

// TestNothingLeaks puts each of them through all that is exported, in each
// place of a line and in each format.
func TestNothingLeaks(t *testing.T) {
	for _, text := range leaky {
		for _, format := range []string{"json", "text"} {
			var out bytes.Buffer
			l := logTo(t, &out, "debug", format, format == "text")
			l.Info().Msg(text)
			l.Info().Str("url", text).Strs("urls", []string{text}).Bytes("raw", []byte(text)).Msg("")
			l.Error().Err(&url.Error{Op: "Get", URL: text, Err: errors.New("EOF")}).Msg("")
			l.Error().Err(errors.New("parse "+text+": failed")).Msgf("%q", text)
			_, err := url.Parse(text + "%zz\x7f")
			l.Warn().Err(err).Interface("header", http.Header{"Authorization": {text}}).Msg("")
			with := l.With().Str("path", Path(text)).Str("token", "s3cr3t").Logger()
			with.Info().Msg(Scrub(text))
			l.Info().Strs("tokens of_token", []string{"s3cr3t", text}).Str("after", "shown").Msg("")
			l.Info().Interface("auth_token", map[string]any{"a": []string{"s3cr3t"}, "b": "s3cr3t"}).Msg("shown")
			if n := strings.Count(out.String(), "shown"); n != 2 {
				t.Errorf("%d of the 2 strings after a secret are there: %s", n, out.String())
			}
			errorLog := ErrorLog(NewLog(&l))
			errorLog.Printf("http: panic serving 127.0.0.1:1: %s", text)
			errorLog.Print(text)
			if i := strings.Index(out.String(), "s3cr3t"); i >= 0 {
				t.Errorf("%s, %q: %s", format, text, out.String()[max(0, i-80):i+10])
			}
			checkLines(t, out.String(), format == "json")
		}
		if strings.Contains(Path(text), "s3cr3t") {
			t.Errorf("Path(%q) = %q", text, Path(text))
		}
	}
}

// checkLines: what is hidden leaves lines whole.
func checkLines(t interface{ Errorf(string, ...any) }, text string, isJSON bool) {
	for line := range strings.Lines(text) {
		if isJSON && !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
	if !isJSON && strings.Contains(text, "cannot decode") {
		t.Errorf("the console did not understand a line: %s", text)
	}
}

func TestAnyTextStaysJSON(t *testing.T) {
	marks := rapid.SampledFrom([]string{"?", `"`, `\`, "token=", "Bearer ", "://", "@", `":"`, `\"`, "\n", " ", "%3f", "password", ":", "eyJ.", "a", "ü", "\xff"})
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOf(marks).Draw(t, "marks"), "") + rapid.String().Draw(t, "text")
		var out bytes.Buffer
		l, err := New(&out, atLevel(t, "debug"), "json", false)
		if err != nil {
			t.Fatal(err)
		}
		l.Info().Str("a", text).Str(text, "b").Interface("m", map[string]string{"token": text}).Msg(text)
		checkLines(t, out.String(), true)
		if strings.Count(out.String(), "\n") != 1 {
			t.Errorf("more than a line: %q", out.String())
		}
		_ = Path(text)
	})
}

func TestErrorLogLevels(t *testing.T) {
	type line struct{ Level, Message, Detail, Panic, Stack string }
	for message, want := range map[string]line{
		"http: panic serving 127.0.0.1:1: boom\ntwice\ngoroutine 1": {"error", "request crashed", "", "http: panic serving 127.0.0.1:1: boom\ntwice", "goroutine 1"},
		"http: TLS handshake error from 127.0.0.1:1: EOF":           {"debug", "TLS handshake failed", "http: TLS handshake error from 127.0.0.1:1: EOF", "", ""},
		"http: URL query contains semicolon, which":                 {"debug", "net/http", "http: URL query contains semicolon, which", "", ""},
		"http: Accept error: too many open files":                   {"warn", "net/http", "http: Accept error: too many open files", "", ""},
		"http: superfluous response.WriteHeader call":               {"warn", "net/http", "http: superfluous response.WriteHeader call", "", ""},
	} {
		var out bytes.Buffer
		logger := logTo(t, &out, "debug", "json", false)
		ErrorLog(NewLog(&logger)).Println(message)
		var got line
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%q: %+v, want %+v", message, got, want)
		}
	}
}

// TestErrorLogOfServer: a handler of a real server panics with its URL.
func TestErrorLogOfServer(t *testing.T) {
	var out bytes.Buffer
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		panic("no way to " + r.URL.String())
	}))
	logger := logTo(t, &out, "debug", "json", false)
	server.Config.ErrorLog = ErrorLog(NewLog(&logger))
	server.Start()
	response, err := server.Client().Get(server.URL + "/socket?token=s3cr3t")
	if err == nil {
		t.Errorf("a panic was answered with %s", response.Status)
		_ = response.Body.Close()
	}
	server.Close() // waits for the connection, and with it for the line
	if !strings.Contains(out.String(), `"level":"error"`) || !strings.Contains(out.String(), "no way to /socket?…") {
		t.Errorf("%s", out.String())
	}
}
