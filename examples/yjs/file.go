package main

import (
	"errors"
	"io/fs"
	"os"
)

// file keeps the updates of a document, one behind the other, each with its
// length in front. It exists once there is one.
type file struct {
	name string
	f    *os.File // nil: it does not exist
	size int64    // of what has been written completely
}

// openFile returns a file and the updates in it. The rest of an update that was
// not written completely is cut off.
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

// add writes one more update. It is with the system then, and survives the end of
// this program, but not that of the machine.
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

// replace writes the updates of a whole log. The old file stays whole until the
// new one is.
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
