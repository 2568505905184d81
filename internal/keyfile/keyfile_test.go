//go:build unix

package keyfile

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var loopback = netip.MustParseAddrPort("127.0.0.1:4000")

func write(t *testing.T, environ []string, addr, secret string) *File {
	t.Helper()
	f, err := Write(environ, "", netip.MustParseAddrPort(addr), secret)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Commands find the server of an address, and no other.
func TestFind(t *testing.T) {
	environ := []string{"XDG_RUNTIME_DIR=" + t.TempDir()}
	for addr, secret := range map[string]string{
		"[::]:4000": "all", "127.0.0.1:4001": "one", "[::]:4001": "others", "[::1]:4002": "six", "[::]:80": "http", "127.0.0.2:4003": "two", "0.0.0.0:4005": "four",
	} {
		write(t, environ, addr, secret)
	}
	for server, want := range map[string]string{
		"http://localhost:4005":      "four",
		"http://127.0.0.3:4005":      "four",
		"http://[::1]:4005":          "", // where somebody else may listen
		"http://localhost:4000":      "all",
		"http://127.0.0.1:4000/":     "all",
		"http://[::1]:4000":          "all",
		"http://LOCALHOST:4001":      "one",
		"http://127.0.0.1:4001":      "one",
		"http://127.0.0.2:4001":      "others",
		"http://localhost:4002":      "six",
		"http://127.0.0.1:4002":      "",
		"http://localhost:4003":      "",
		"http://127.0.0.2:4003":      "two",
		"http://localhost":           "http",
		"https://localhost":          "",
		"http://rt.example.com:4000": "", // whoever that is, it is told no key
		"http://192.0.2.1:4000":      "",
		"http://localhost:4004":      "",
	} {
		got, err := Find(environ, server)
		var missing *NotFoundError
		if got.Secret != want || (want == "") != errors.As(err, &missing) {
			t.Errorf("%s: %q, %v; want %q", server, got, err, want)
		}
	}
	// Of the addresses of localhost, another user may listen on those that the
	// server does not: the key goes to its own.
	for server, want := range map[string]string{
		"http://localhost:4000":    "http://localhost:4000",
		"http://localhost:4001/x":  "http://127.0.0.1:4001/x",
		"http://localhost:4002":    "http://[::1]:4002",
		"http://localhost:4005":    "http://127.0.0.1:4005",
		"http://127.0.0.1:4005":    "http://127.0.0.1:4005",
		"https://localhost:4001/x": "https://localhost:4001/x",
	} {
		if got, err := Find(environ, server); err != nil || got.Server != want {
			t.Errorf("the key for %s goes to %s, %v; want %s", server, got.Server, err, want)
		}
	}
	if _, err := Find(environ, "http://localhost:x"); err == nil {
		t.Error("no port, and no error")
	}
}

// The file is closed to others, whole at any time, and gone in the end, unless
// another server has its own there.
func TestWriteAndRemove(t *testing.T) {
	dir := t.TempDir()
	environ := []string{"HOME=" + dir}
	f := write(t, environ, "127.0.0.1:4000", "mk_1")
	if want := filepath.Join(dir, ".cache", "mycelium", "4000-127.0.0.1.key"); f.Name != want {
		t.Errorf("%s, want %s", f.Name, want)
	}
	for path, mode := range map[string]os.FileMode{f.Name: 0o600, filepath.Dir(f.Name): 0o700 | os.ModeDir} {
		if info, err := os.Lstat(path); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	after := write(t, environ, "127.0.0.1:4000", "mk_2")
	if err := f.Remove(); err != nil {
		t.Error(err)
	}
	if got, err := Find(environ, "http://localhost:4000"); got.Secret != "mk_2" {
		t.Errorf("%q, %v", got, err)
	}
	if err := after.Remove(); err != nil {
		t.Error(err)
	}
	if files, err := os.ReadDir(filepath.Dir(f.Name)); err != nil || len(files) != 0 {
		t.Errorf("%v, %v", files, err)
	}
}

// The runtime directory is the better one, and what a killed server has left in
// the other is not found.
func TestDirectories(t *testing.T) {
	home, runtime, data := t.TempDir(), t.TempDir(), t.TempDir()
	write(t, []string{"HOME=" + home}, "127.0.0.1:4000", "mk_old")
	both := []string{"HOME=" + home, "XDG_RUNTIME_DIR=" + runtime}
	f := write(t, both, "127.0.0.1:4000", "mk_new")
	if !strings.HasPrefix(f.Name, runtime) {
		t.Errorf("written to %s", f.Name)
	}
	if _, err := Find([]string{"HOME=" + home}, "http://localhost:4000"); err == nil {
		t.Error("the old one is still there")
	}
	if f, err := Write([]string{"XDG_RUNTIME_DIR=" + filepath.Join(runtime, "a", "b")}, data, loopback, "mk_x"); err != nil || filepath.Dir(f.Name) != data {
		t.Errorf("in place of a directory that is not there: %+v, %v", f, err)
	}
	for _, environ := range [][]string{nil, {"HOME=relative"}, {"HOME=/dev/null"}, {"HOME=" + filepath.Join(home, "gone")}} {
		if f, err := Write(environ, "", loopback, "mk_x"); err == nil {
			t.Errorf("%v: written to %s", environ, f.Name)
		}
	}
}

// Commands look where the server has put its key if the runtime directory cannot be used, as after
// su, which keeps the variable of another user.
func TestUnusableDirectory(t *testing.T) {
	runtime := t.TempDir()
	shared := filepath.Join(runtime, "mycelium")
	if err := errors.Join(os.Mkdir(shared, 0o700), os.Chmod(shared, 0o777)); err != nil { //nolint:gosec // as others' directories are
		t.Fatal(err)
	}
	environ := []string{"XDG_RUNTIME_DIR=" + runtime, "HOME=" + t.TempDir()}
	f := write(t, environ, "127.0.0.1:4000", "mk_1")
	if got, err := Find(environ, "http://localhost:4000"); got.Secret != "mk_1" {
		t.Errorf("%s is not found: %q, %v", f.Name, got.Secret, err)
	}
	if _, err := Find(environ, "http://localhost:4001"); err == nil || !strings.Contains(err.Error(), "writable by others") {
		t.Errorf("no key, and no reason: %v", err)
	}
}

// A key is neither put where others could exchange it, nor read from where they
// could have put theirs.
func TestOthers(t *testing.T) {
	base := t.TempDir()
	environ := []string{"XDG_RUNTIME_DIR=" + base}
	f := write(t, environ, "127.0.0.1:4000", "mk_1")
	refused := func(what string) {
		t.Helper()
		if got, err := Find(environ, "http://localhost:4000"); err == nil {
			t.Errorf("%s: found %q", what, got)
		}
	}
	mode := func(path string, m os.FileMode) {
		t.Helper()
		if err := os.Chmod(path, m); err != nil {
			t.Fatal(err)
		}
	}
	mode(f.Name, 0o640)
	refused("a file that others may read")
	mode(f.Name, 0o600)
	dir := filepath.Dir(f.Name)
	mode(dir, 0o777)
	refused("a directory that others may write to")
	if _, err := Write(environ, "", loopback, "mk_2"); err == nil {
		t.Error("written where others may write")
	}
	mode(dir, 0o700)

	target := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(target, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(f.Name), os.Symlink(target, f.Name)); err != nil {
		t.Fatal(err)
	}
	refused("a link")
	write(t, environ, "127.0.0.1:4000", "mk_3")
	if text, err := os.ReadFile(target); err != nil || string(text) != "precious" {
		t.Errorf("the link was followed: %q, %v", text, err)
	}
	elsewhere := t.TempDir()
	if err := errors.Join(os.RemoveAll(dir), os.Symlink(elsewhere, dir)); err != nil {
		t.Fatal(err)
	}
	refused("a directory that is a link")
	if _, err := Write(environ, "", loopback, "mk_4"); err == nil || !strings.Contains(err.Error(), "symbolic link") {
		t.Errorf("written behind a link: %v", err)
	}
	if os.Geteuid() == 0 {
		if err := errors.Join(os.Remove(dir), os.Mkdir(dir, 0o700), os.Chown(dir, 12345, 12345)); err != nil {
			t.Fatal(err)
		}
		if _, err := Write(environ, "", loopback, "mk_5"); err == nil || !strings.Contains(err.Error(), "belongs to another user") {
			t.Errorf("written for another user: %v", err)
		}
	}
}
