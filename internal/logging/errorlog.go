package logging

import (
	"log"
	"strings"

	"github.com/rs/zerolog"
)

// ErrorLog returns a logger for http.Server.ErrorLog. Panics of handlers are
// logged as errors, clients that went away or spoke another protocol at level
// debug, and everything else as warnings.
func ErrorLog(to *Log) *log.Logger {
	return log.New(errorLog{to}, "", 0)
}

type errorLog struct{ to *Log }

// Write takes one message; log.Logger never splits or joins them.
func (e errorLog) Write(message []byte) (int, error) {
	text := strings.TrimSpace(string(message))
	level, kind := kindOf(text)
	line := e.to.Line(level, kind)
	if value, stack, ok := strings.Cut(text, "\ngoroutine "); ok {
		line.Panic(Scrub(value), []byte("goroutine "+Scrub(stack))).Write()
	} else {
		line.Str("detail", Scrub(text)).Write()
	}
	return len(message), nil
}

// kindOf classifies the messages of net/http's server.go.
func kindOf(message string) (level zerolog.Level, kind string) {
	switch {
	case strings.Contains(message, "panic serving"):
		return zerolog.ErrorLevel, "request crashed"
	case strings.Contains(message, "TLS handshake error"):
		return zerolog.DebugLevel, "TLS handshake failed"
	case strings.Contains(message, "URL query contains semicolon"):
		return zerolog.DebugLevel, "net/http"
	}
	return zerolog.WarnLevel, "net/http"
}
