package channels

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/rs/zerolog"
)

// SlogLogger returns a logger for the Options of this package and others that
// passes its lines on to l, with their levels, and their fields as attributes.
// Lines for which l's handler is not enabled are not made. The handler runs on
// event loops.
func SlogLogger(l *slog.Logger) *zerolog.Logger {
	s := slogWriter{l.Handler()}
	log := zerolog.New(s).Sample(s)
	return &log
}

// slogWriter turns lines of JSON into slog's records.
type slogWriter struct{ to slog.Handler }

// slogLevels maps zerolog's levels to slog's.
var slogLevels = map[zerolog.Level]slog.Level{
	zerolog.TraceLevel: slog.LevelDebug - 4,
	zerolog.DebugLevel: slog.LevelDebug,
	zerolog.InfoLevel:  slog.LevelInfo,
	zerolog.WarnLevel:  slog.LevelWarn,
	zerolog.ErrorLevel: slog.LevelError,
	zerolog.FatalLevel: slog.LevelError + 4,
	zerolog.PanicLevel: slog.LevelError + 4,
}

// Sample implements zerolog.Sampler, which is called before a line is built.
func (s slogWriter) Sample(level zerolog.Level) bool {
	return s.to.Enabled(context.Background(), slogLevels[level])
}

// Write implements io.Writer, for a line without a level.
func (s slogWriter) Write(line []byte) (int, error) { return s.WriteLevel(zerolog.InfoLevel, line) }

// WriteLevel implements zerolog.LevelWriter.
func (s slogWriter) WriteLevel(level zerolog.Level, line []byte) (int, error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if _, err := d.Token(); err != nil { // the opening bracket
		return 0, err
	}
	attrs, err := slogAttrs(d)
	if err != nil {
		return 0, err
	}
	record := slog.NewRecord(time.Now(), slogLevels[level], "", 0)
	for _, a := range attrs {
		switch a.Key {
		case zerolog.LevelFieldName, zerolog.TimestampFieldName:
		case zerolog.MessageFieldName:
			record.Message = a.Value.String()
		default:
			record.AddAttrs(a)
		}
	}
	s.to.Handle(context.Background(), record) //nolint:errcheck // slog ignores it too
	return len(line), nil
}

// slogAttrs reads the fields of an object up to its closing bracket.
func slogAttrs(d *json.Decoder) (attrs []slog.Attr, err error) {
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		value, err := slogValue(d)
		if err != nil {
			return nil, err
		}
		attrs = append(attrs, slog.Attr{Key: key.(string), Value: value})
	}
	_, err = d.Token()
	return attrs, noEOF(err)
}

// slogValue reads a value: an object as a group, a list as []any.
func slogValue(d *json.Decoder) (slog.Value, error) {
	token, err := d.Token()
	if err != nil {
		return slog.Value{}, noEOF(err)
	}
	switch v := token.(type) {
	case json.Delim:
		if v == '{' {
			attrs, err := slogAttrs(d)
			return slog.GroupValue(attrs...), err
		}
		list := []any{}
		for d.More() {
			item, err := slogValue(d)
			if err != nil {
				return slog.Value{}, err
			}
			list = append(list, item.Any())
		}
		_, err := d.Token()
		return slog.AnyValue(list), noEOF(err)
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return slog.Int64Value(n), nil
		}
		f, err := v.Float64()
		return slog.Float64Value(f), err
	}
	return slog.AnyValue(token), nil // a string, a bool or nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
