package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// checkLoad loads twice: no panic, the same answer, and an error of ours.
func checkLoad(t interface{ Fatalf(string, ...any) }, args, environ []string) {
	first, err := Load(args, environ)
	second, again := Load(args, environ)
	if !reflect.DeepEqual(first, second) || !reflect.DeepEqual(err, again) {
		t.Fatalf("Load(%q, %q) differs:\n%+v %v\n%+v %v", args, environ, first, err, second, again)
	}
	var e *Error
	switch {
	case err == nil && first == nil, err != nil && first != nil:
		t.Fatalf("Load(%q, %q) = %v, %v", args, environ, first, err)
	case errors.Is(err, ErrHelp) || err == nil:
	case !errors.As(err, &e) || len(e.Problems) == 0:
		t.Fatalf("Load(%q, %q): %v is no *Error with problems", args, environ, err)
	}
}

// TestAnyInput draws words from the table and around it, so that most of them
// get past the names.
func TestAnyInput(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "1", "60s", "true", "1MiB", "*", "//a", ":1", "/a", "off"}))
		o := rapid.SampledFrom(withFileOption())
		args := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string {
			switch rapid.IntRange(0, 3).Draw(t, "form") {
			case 0:
				return value.Draw(t, "word")
			case 1:
				return "--" + o.Draw(t, "option").flag()
			}
			return "--" + o.Draw(t, "option").flag() + "=" + value.Draw(t, "value")
		}), 0, 6).Draw(t, "args")
		environ := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string {
			if rapid.IntRange(0, 4).Draw(t, "form") == 0 {
				return envPrefix + value.Draw(t, "name")
			}
			return o.Draw(t, "option").env() + "=" + value.Draw(t, "value")
		}), 0, 4).Draw(t, "environ")
		checkLoad(t, args, environ)
	})
}

func FuzzFile(f *testing.F) {
	for _, text := range []string{
		"limits:\n  max_channels: 5\ntopics: [\"a:*\", b]\n", "listen: 4000\n", "a: &x [*x]\n", "<<: {loops: 1}\n",
		"[limits]\nmax_channels = 5\n", "topics = ['a']\n[log]\nlevel = 'info'\n", "x = 2020-01-01T00:00:00Z\n",
		"log.level: x\nlog: {level: y}\n", "? [a]\n: b\n", "", "\xef\xbb\xbfloops: 1\n", "limits.max_channels.x: 1\n",
	} {
		f.Add([]byte(text), false)
		f.Add([]byte(text), true)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte, asTOML bool) {
		name := filepath.Join(dir, "c.yaml")
		if asTOML {
			name = filepath.Join(dir, "c.toml")
		}
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		checkLoad(t, []string{"--config=" + name}, nil)
	})
}

func FuzzArguments(f *testing.F) {
	f.Add("--listen=:1\x00--loops\x003", "MYCELIUM_PATH=/x\x00MYCELIUM_X=y")
	f.Add("--\x00-\x00---\x00--=", "MYCELIUM_=\x00=")
	f.Fuzz(func(t *testing.T, args, environ string) {
		// Files are the other target's.
		if strings.Contains(args, "config") || strings.Contains(environ, "CONFIG") {
			t.Skip()
		}
		checkLoad(t, strings.Split(args, "\x00"), strings.Split(environ, "\x00"))
	})
}
