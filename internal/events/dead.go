package events

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"
)

// DeadLetter is an event that was given up: the back end refused it for good, or did not
// take it within Options.MaxAge.
type DeadLetter struct {
	Time  time.Time       `json:"time"` // when it was given up
	Error string          `json:"error"`
	Event json.RawMessage `json:"event"`
}

// maxDead bounds the dead letters of a hook, in bytes. Above it, the older half is
// removed.
const maxDead = 8 << 20

// deadLetters is the log of the dead letters of a hook: one line of JSON each, in two
// files. The name of the older file ends in ".old".
type deadLetters struct {
	path string // static; "" in memory

	mu    sync.Mutex
	file  *os.File // guarded by mu; nil in memory
	size  int64    // guarded by mu: of the newer half
	count int      // guarded by mu
	old   [][]byte // guarded by mu; in memory
	young [][]byte // guarded by mu; in memory
}

func openDeadLetters(path string) (*deadLetters, error) {
	d := &deadLetters{path: path}
	if path == "" {
		return d, nil
	}
	list, err := d.List()
	if err != nil {
		return nil, err
	}
	d.count = len(list)
	return d, d.openFile()
}

// openFile opens the newer file in place of the one that is open. mu is held, or d is not
// shared yet.
func (d *deadLetters) openFile() error {
	file, err := os.OpenFile(d.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	before := d.file
	d.file, d.size = file, info.Size()
	if before != nil {
		return before.Close()
	}
	return nil
}

// add adds an event.
func (d *deadLetters) add(now time.Time, why error, event []byte) error {
	line, err := DeadLetter{Time: now.UTC(), Error: fmt.Sprint(why), Event: event}.line()
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.size > 0 && d.size+int64(len(line)) > maxDead/2 {
		if err := d.dropOld(); err != nil {
			return err
		}
	}
	if d.path == "" {
		d.young = append(d.young, line)
	} else if _, err := d.file.Write(line); err != nil {
		return errors.Join(err, d.file.Truncate(d.size)) // a part of a line would spoil the next
	}
	d.size += int64(len(line))
	d.count++
	return nil
}

func (l DeadLetter) line() ([]byte, error) {
	text, err := json.Marshal(l)
	return append(text, '\n'), err
}

// dropOld removes the older half. If it fails, it can be tried again. mu is held.
func (d *deadLetters) dropOld() error {
	if d.path == "" {
		d.old, d.young, d.size = d.young, nil, 0
		d.count = len(d.old)
		return nil
	}
	if err := os.Rename(d.path, d.path+".old"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := d.openFile(); err != nil {
		return err
	}
	list, err := readLetters(d.path + ".old")
	d.count = len(list)
	return err
}

// List returns all dead letters, the oldest first.
func (d *deadLetters) List() (list []DeadLetter, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.listLocked()
}

func (d *deadLetters) listLocked() (list []DeadLetter, err error) {
	if d.path != "" {
		old, err := readLetters(d.path + ".old")
		if err != nil {
			return nil, err
		}
		young, err := readLetters(d.path)
		return append(old, young...), err
	}
	for _, lines := range [][][]byte{d.old, d.young} {
		for _, line := range lines {
			var l DeadLetter
			if err := json.Unmarshal(line, &l); err != nil {
				return nil, err
			}
			list = append(list, l)
		}
	}
	return list, nil
}

// readLetters reads a file. A line that was not written whole is left out.
func readLetters(path string) (list []DeadLetter, err error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	r := bufio.NewReaderSize(file, 64<<10)
	for {
		line, err := r.ReadString('\n')
		var l DeadLetter
		if json.Unmarshal([]byte(strings.TrimSpace(line)), &l) == nil {
			list = append(list, l)
		}
		if err != nil {
			return list, nil //nolint:nilerr // the end of the file
		}
	}
}

// replace replaces all dead letters. If it fails, or the process or the machine ends
// meanwhile, those before are still there.
func (d *deadLetters) replace(list []DeadLetter) error {
	lines := make([][]byte, len(list))
	for i, l := range list {
		var err error
		if lines[i], err = l.line(); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	text := bytes.Join(lines, nil)
	if d.path == "" {
		d.old, d.young, d.size = nil, lines, int64(len(text))
	} else if err := d.replaceFiles(text); err != nil {
		return err
	}
	d.count = len(list)
	return nil
}

// replaceFiles makes text the newer file, and removes the older one. mu is held.
func (d *deadLetters) replaceFiles(text []byte) error {
	next := d.path + ".new"
	file, err := os.OpenFile(next, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = os.Rename(next, d.path)
	}
	if err != nil {
		return errors.Join(err, removeIfThere(next))
	}
	return errors.Join(d.openFile(), removeIfThere(d.path+".old"))
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (d *deadLetters) len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.count
}

func (d *deadLetters) close() {
	if d.file != nil {
		d.file.Close()
	}
}
