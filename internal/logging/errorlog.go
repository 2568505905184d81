package logging

import (
	"log"
	"strings"

	"github.com/rs/zerolog"
)

// ErrorLog returns a logger for http.Server.ErrorLog: panics of handlers are
// errors, what only says that a client went away or spoke something else is for
// debugging, the rest are warnings.
func ErrorLog(to zerolog.Logger) *log.Logger {
	return log.New(errorLog{to}, "", 0)
}

type errorLog struct{ to zerolog.Logger }

// Write takes one message; log.Logger never splits or joins them.
func (e errorLog) Write(message []byte) (int, error) {
	text := strings.TrimSpace(string(message))
	e.to.WithLevel(levelOf(text)).Msg(Scrub(text))
	return len(message), nil
}

// levelOf knows the messages of net/http's server.go.
func levelOf(message string) zerolog.Level {
	switch {
	case strings.Contains(message, "panic serving"):
		return zerolog.ErrorLevel
	case strings.Contains(message, "TLS handshake error"),
		strings.Contains(message, "URL query contains semicolon"):
		return zerolog.DebugLevel
	}
	return zerolog.WarnLevel
}
