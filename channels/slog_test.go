package channels_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
)

// records is a slog.Handler that keeps what it is given; any goroutine.
type records struct {
	least slog.Level

	mu  sync.Mutex
	all []slog.Record
}

func (r *records) Enabled(_ context.Context, l slog.Level) bool { return l >= r.least }
func (r *records) WithAttrs([]slog.Attr) slog.Handler           { return r }
func (r *records) WithGroup(string) slog.Handler                { return r }

func (r *records) Handle(_ context.Context, record slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, record)
	return nil
}

// named returns the attributes of the records with a message.
func (r *records) named(message string) (found []slog.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, record := range r.all {
		if record.Message == message {
			found = append(found, record)
		}
	}
	return found
}

func attrsOf(r slog.Record) (attrs []string) {
	r.Attrs(func(a slog.Attr) bool {
		attrs = append(attrs, fmt.Sprintf("%s=%v:%v", a.Key, a.Value.Kind(), a.Value))
		return true
	})
	return attrs
}

// TestSlogLogger: a slog.Logger gets the lines with level and fields.
func TestSlogLogger(t *testing.T) {
	log := new(records)
	e := channelstest.Start(t, channels.Options{Logger: channels.SlogLogger(slog.New(log))})
	e.Socket("/socket", channels.SocketOptions{}, room())
	c := channelstest.Connect(t, e, "/socket").Join("room:1", nil)
	c.Push("crash", nil)
	c.AssertError()
	crashes := log.named("channel crashed")
	if len(crashes) != 1 || crashes[0].Level != slog.LevelError || crashes[0].Time.IsZero() {
		t.Fatalf("%d crashes: %v", len(crashes), crashes)
	}
	attrs := attrsOf(crashes[0])
	for i, want := range []string{"topic=String:room:1", "event=String:crash", "panic=String:boom", "stack=String:goroutine "} {
		if i >= len(attrs) || !strings.HasPrefix(attrs[i], want) {
			t.Fatalf("attributes %.200q, want %s…", attrs, want)
		}
	}
	if len(log.named("joined")) > 0 {
		t.Error("lines below the handler's level")
	}
}

// TestSlogValues: each kind of field that a zerolog.Logger can write.
func TestSlogValues(t *testing.T) {
	log := &records{least: slog.LevelDebug}
	logger := channels.SlogLogger(slog.New(log)).With().Timestamp().Str("instance", "a").Logger()
	logger.Warn().Str("text", `"é<&`).Int64("int", 1<<62).Float64("float", 1.5).Bool("yes", true).Interface("none", nil).
		Strs("list", []string{"a", "b"}).Dict("group", zerolog.Dict().Int("n", 1).Dict("in", zerolog.Dict().Bool("x", true))).Msg("all")
	logger.Trace().Msg("too low")
	found := log.named("all")
	if len(found) != 1 || found[0].Level != slog.LevelWarn {
		t.Fatalf("%v", found)
	}
	want := []string{
		"instance=String:a", `text=String:"é<&`, "int=Int64:4611686018427387904", "float=Float64:1.5", "yes=Bool:true", "none=Any:<nil>",
		"list=Any:[a b]", "group=Group:[n=1 in=[x=true]]",
	}
	if got := attrsOf(found[0]); !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	if len(log.named("too low")) > 0 {
		t.Error("a level that the handler does not want")
	}
	off := channels.SlogLogger(slog.New(&records{least: slog.LevelError}))
	if n := testing.AllocsPerRun(100, func() { off.Warn().Str("a", "b").Msg("off") }); n > 0 {
		t.Errorf("a line that is not wanted: %v allocations", n)
	}
}
