package events

import (
	"bufio"
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

// openFile opens the newer file. mu is held, or d is not shared yet.
func (d *deadLetters) openFile() (err error) {
	if d.file, err = os.OpenFile(d.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	info, err := d.file.Stat()
	if err == nil {
		d.size = info.Size()
	}
	return err
}

// add adds an event.
func (d *deadLetters) add(now time.Time, why error, event []byte) error {
	line, err := json.Marshal(DeadLetter{Time: now.UTC(), Error: fmt.Sprint(why), Event: event})
	if err != nil {
		return err
	}
	line = append(line, '\n')
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.size > 0 && d.size+int64(len(line)) > maxDead/2 {
		if err := d.dropOld(); err != nil {
			return err
		}
	}
	d.size += int64(len(line))
	d.count++
	if d.path == "" {
		d.young = append(d.young, line)
		return nil
	}
	_, err = d.file.Write(line)
	return err
}

// dropOld removes the older half. mu is held.
func (d *deadLetters) dropOld() error {
	d.old, d.young, d.size = d.young, nil, 0
	if d.path == "" {
		d.count = len(d.old)
		return nil
	}
	if err := errors.Join(d.file.Close(), os.Rename(d.path, d.path+".old")); err != nil {
		return err
	}
	list, err := readLetters(d.path + ".old")
	d.count = len(list)
	return errors.Join(err, d.openFile())
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

// take removes and returns all dead letters.
func (d *deadLetters) take() (list []DeadLetter, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if list, err = d.listLocked(); err != nil {
		return nil, err
	}
	d.old, d.young, d.size, d.count = nil, nil, 0, 0
	if d.path == "" {
		return list, nil
	}
	err = errors.Join(d.file.Truncate(0), removeIfThere(d.path+".old"))
	return list, err
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
