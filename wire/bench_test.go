package wire

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
)

// payloads are what the validator is measured with.
func payloads() map[string]string {
	chat := `{"user":"ada","body":"hello, how is everybody today? fine I hope","at":1732370000123,"tags":["a","b"]}`
	return map[string]string{
		"Chat100":    chat,
		"Spaced100":  `{"user": "ada", "body": "hello, how is everybody today? fine", "at": 1732370000123, "tags": ["a"]}`,
		"Numbers":    `{"x":12.25,"y":-7.5,"z":0.001,"v":[1,22,333,4444],"t":1732370000.123,"e":1e-7}`,
		"Text4K":     `{"body":"` + strings.Repeat("plain text, a lot of it. ", 160) + `"}`,
		"Japanese":   `{"body":"` + strings.Repeat("日本語の文章", 10) + `"}`,
		"Nested":     strings.Repeat(`{"a":[`, 30) + "1" + strings.Repeat("]}", 30),
		"Chats100kB": "[" + strings.Repeat(chat+",", 999) + chat + "]",
	}
}

func BenchmarkValidate(b *testing.B) {
	all := payloads()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		b.Run(name, func(b *testing.B) {
			buffer := make([]byte, len(all[name]))
			b.SetBytes(int64(len(buffer)))
			b.ReportAllocs()
			for b.Loop() {
				copy(buffer, all[name])
				if _, err := Validate(buffer); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkValidateByEncodingJSON is the yardstick: json.Valid checks less.
func BenchmarkValidateByEncodingJSON(b *testing.B) {
	chat := []byte(payloads()["Chat100"])
	b.SetBytes(int64(len(chat)))
	for b.Loop() {
		if !json.Valid(chat) {
			b.Fatal("not valid")
		}
	}
}

func BenchmarkSerializer(b *testing.B) {
	all := hotPath(b)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				all[name]()
			}
		})
	}
}
