package main

import (
	"errors"
	"io/fs"
	"os"
)

// file stores the updates of a document one after the other, each after its length.
// It is created with the first update.
type file struct {
	name string
	f    *os.File // nil if it does not exist
	size int64    // of the updates that have been written completely
}

// openFile opens a file and returns it and its updates. It cuts off an update that was
// not written completely.
func openFile(name string) (*file, [][]byte, error) {
	l := &file{name: name}
	data, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return l, nil, nil
	case err != nil:
		return nil, nil, err
	}
	var updates [][]byte
	for r := (reader{data}); ; {
		update, err := r.bytes()
		if err != nil {
			break
		}
		updates = append(updates, update)
		l.size = int64(len(data) - len(r.rest))
	}
	if err := l.open(); err != nil {
		return nil, nil, err
	}
	if err := l.f.Truncate(l.size); err != nil {
		return nil, nil, errors.Join(err, l.close())
	}
	return l, updates, nil
}

func (l *file) open() (err error) {
	l.f, err = os.OpenFile(l.name, os.O_RDWR|os.O_CREATE, 0o600)
	return err
}

// add appends an update. It then survives a crash of this program, but not of the
// machine.
func (l *file) add(update []byte) error {
	if l.f == nil {
		if err := l.open(); err != nil {
			return err
		}
	}
	n, err := l.f.WriteAt(appendBytes(nil, update), l.size)
	if err != nil {
		return errors.Join(err, l.f.Truncate(l.size))
	}
	l.size += int64(n)
	return nil
}

// replace replaces the file with the updates of a whole log. The old file stays intact
// until the new one is complete.
func (l *file) replace(entries []entry) error {
	var data []byte
	for _, e := range entries {
		data = appendBytes(data, e.update)
	}
	if err := writeFile(l.name+".new", data); err != nil {
		return err
	}
	// Windows neither renames nor replaces an open file.
	if err := errors.Join(l.close(), os.Rename(l.name+".new", l.name)); err != nil {
		return err
	}
	l.size = int64(len(data))
	return l.open()
}

// writeFile returns when the data is on the disk.
func writeFile(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

func (l *file) close() error {
	if l.f == nil {
		return nil
	}
	err := l.f.Close()
	l.f = nil
	return err
}
