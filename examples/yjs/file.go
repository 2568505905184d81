package main

import (
	"errors"
	"io"
	"os"
)

// file keeps the updates of a document, one behind the other, each with its
// length in front.
type file struct {
	f    *os.File
	size int64 // of what has been written completely
}

// openFile opens or creates a file and returns the updates in it. The rest of an
// update that was not written completely is cut off.
func openFile(name string) (*file, [][]byte, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, err
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	var updates [][]byte
	r := reader{data}
	for len(r.rest) > 0 {
		before := r.rest
		update, err := r.bytes()
		if err != nil {
			r.rest = before
			break
		}
		updates = append(updates, update)
	}
	l := &file{f, int64(len(data) - len(r.rest))}
	if err := f.Truncate(l.size); err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return l, updates, nil
}

// add writes one more update. It is with the system then, and survives the end of
// this program, but not that of the machine.
func (l *file) add(update []byte) error {
	n, err := l.f.WriteAt(appendBytes(nil, update), l.size)
	if err != nil {
		return errors.Join(err, l.f.Truncate(l.size))
	}
	l.size += int64(n)
	return nil
}

// replace writes the updates of a whole log. The old file stays whole until the new one is.
func (l *file) replace(entries []entry) error {
	var data []byte
	for _, e := range entries {
		data = appendBytes(data, e.update)
	}
	name := l.f.Name()
	f, err := os.OpenFile(name+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync()); err != nil {
		return errors.Join(err, f.Close())
	}
	// Windows renames no open file, and replaces none.
	if err := errors.Join(f.Close(), l.f.Close(), os.Rename(name+".new", name)); err != nil {
		return err
	}
	l.f, err = os.OpenFile(name, os.O_RDWR, 0o600)
	l.size = int64(len(data))
	return err
}

func (l *file) close() error { return l.f.Close() }
