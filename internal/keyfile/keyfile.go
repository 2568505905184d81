// Package keyfile saves the API key that a server has made for itself, so that
// commands of the same user on the same machine find it.
//
// A file is named after the address that its server listens on, and lies in
// mycelium/ below the user's runtime directory ($XDG_RUNTIME_DIR) or, where
// there is none, the user's cache. It has mode 0600. Directories that others
// may write to, and files that others may read, are not used.
package keyfile

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// maxBytes bounds what is read of a file.
const maxBytes = 1 << 10

// File is a key file that a server has written.
type File struct {
	// Name is the path of the file.
	Name   string
	secret string
	root   *os.Root // its directory
}

// Write saves a key for commands that use the server at addr. environ has the
// form of os.Environ. data, if not empty, is the directory to use if the user
// has none. An error says why there is no file.
func Write(environ []string, data string, addr netip.AddrPort, secret string) (*File, error) {
	dirs := directories(environ)
	if data != "" {
		dirs = append(dirs, data)
	}
	if len(dirs) == 0 {
		return nil, errors.New("neither XDG_RUNTIME_DIR nor HOME is set")
	}
	var failed error
	for i, dir := range dirs {
		f, err := writeIn(dir, nameFor(addr), secret)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		for _, other := range dirs[i+1:] { // of an earlier server that was killed
			forget(other, nameFor(addr))
		}
		return f, nil
	}
	return nil, failed
}

// directories returns the directories for a user's files, the best first.
func directories(environ []string) (dirs []string) {
	lookup := func(name string) string {
		for _, entry := range environ {
			if value, ok := strings.CutPrefix(entry, name+"="); ok && filepath.IsAbs(value) {
				return value
			}
		}
		return ""
	}
	if dir := lookup("XDG_RUNTIME_DIR"); dir != "" {
		dirs = append(dirs, filepath.Join(dir, "mycelium"))
	}
	switch cache, home := lookup("XDG_CACHE_HOME"), lookup("HOME"); {
	case cache != "":
		dirs = append(dirs, filepath.Join(cache, "mycelium"))
	case home != "":
		dirs = append(dirs, filepath.Join(home, ".cache", "mycelium"))
	}
	return dirs
}

// nameFor returns the file name for a server that listens on addr: its port,
// with the address unless it listens on all of them.
func nameFor(addr netip.AddrPort) string {
	port, ip := strconv.Itoa(int(addr.Port())), addr.Addr().Unmap()
	if ip == netip.IPv6Unspecified() {
		return port + ".key"
	}
	return port + "-" + strings.NewReplacer(":", "_", "%", "_").Replace(ip.String()) + ".key"
}

func writeIn(dir, name, secret string) (*File, error) {
	if err := makeDirectory(dir); err != nil {
		return nil, err
	}
	root, err := openPrivate(dir)
	if err != nil {
		return nil, err
	}
	f := &File{Name: filepath.Join(dir, name), secret: secret, root: root}
	if err := f.write(name); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return f, nil
}

// makeDirectory creates dir and its parent, but nothing above: if the user's
// home is missing, there is a reason.
func makeDirectory(dir string) error {
	parent := filepath.Dir(dir)
	if _, err := os.Stat(parent); errors.Is(err, fs.ErrNotExist) {
		if err := os.Mkdir(parent, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// openPrivate opens a directory that only this user can write to. It does not
// follow symbolic links, which may belong to others.
func openPrivate(dir string) (*os.Root, error) {
	before, err := os.Lstat(dir)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	info, err := root.Stat(".")
	switch {
	case err != nil:
	case !os.SameFile(before, info):
		err = fmt.Errorf("%s is a symbolic link", dir)
	case !isOurs(info):
		err = fmt.Errorf("%s belongs to another user", dir)
	case writableByOthers(info):
		err = fmt.Errorf("%s is writable by others: its mode is %v", dir, info.Mode())
	default:
		return root, nil
	}
	return nil, errors.Join(err, root.Close())
}

// write creates the file atomically: readers find the whole key or no file.
func (f *File) write(name string) error {
	temporary := "." + name + "." + rand.Text()
	file, err := f.root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(f.secret + "\n")
	err = errors.Join(err, file.Close())
	if err == nil {
		err = f.root.Rename(temporary, name)
	}
	if err != nil {
		return errors.Join(err, f.root.Remove(temporary))
	}
	return nil
}

// Remove removes the file, unless another server has put its own there.
func (f *File) Remove() error {
	name := filepath.Base(f.Name)
	secret, err := readIn(f.root, name)
	if err == nil && secret == f.secret {
		err = f.root.Remove(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, f.root.Close())
}

// forget removes the file of an earlier server.
func forget(dir, name string) {
	if root, err := openPrivate(dir); err == nil {
		root.Remove(name) //nolint:errcheck // usually there is none
		root.Close()
	}
}

// readIn reads a key that no other user can have read or written.
func readIn(root *os.Root, name string) (secret string, err error) {
	info, err := root.Lstat(name)
	if err != nil {
		return "", err
	}
	full := filepath.Join(root.Name(), name)
	switch {
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s is not a regular file", full)
	case !isOurs(info):
		return "", fmt.Errorf("%s belongs to another user", full)
	case readableByOthers(info):
		return "", fmt.Errorf("%s is readable by others: its mode is %v", full, info.Mode())
	}
	file, err := root.Open(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxBytes))
	return strings.TrimSpace(string(text)), err
}
