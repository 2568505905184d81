package logging

import (
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/internal/logging/logtest"
)

// BenchmarkOff is what a line costs that is not written.
func BenchmarkOff(b *testing.B) {
	server, err := New(new(logtest.Buffer), new(Level), "json", false)
	if err != nil {
		b.Fatal(err)
	}
	plain := zerolog.New(new(logtest.Buffer)).Level(zerolog.ErrorLevel)
	for name, logger := range map[string]zerolog.Logger{"server": server, "library": plain} {
		log := NewLog(&logger)
		b.Run("debug, "+name, func(b *testing.B) {
			for b.Loop() {
				log.Debug("off").Str("a", "b").Took(time.Time{}).Write()
			}
		})
		b.Run("limited, "+name, func(b *testing.B) {
			for b.Loop() {
				log.Error("limited").Str("a", "b").Write()
			}
		})
		log.Flush()
	}
}
