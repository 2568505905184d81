package auth

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// revocationFile keeps revocations, one on a line. It grows by what is revoked, and is
// written anew when it is opened. Those who write at the same time share one sync.
type revocationFile struct {
	mu   sync.Mutex
	file *os.File // guarded by mu

	waiting sync.Mutex
	lines   bytes.Buffer // guarded by waiting: what the next write takes along
	batch   *writing     // guarded by waiting: whose it is
}

// writing is one write of the file.
type writing struct {
	done chan struct{}
	err  error
}

// maxRevocationLine is more than a line with the longest names takes, in bytes.
const maxRevocationLine = 64 << 10

// openRevocationFile opens a file and returns the revocations in it that have not ended.
// A last line that was not written whole belongs to a revocation that nobody was told
// is done.
func openRevocationFile(path string, now time.Time) (*revocationFile, []SpacedRevocation, error) {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	var kept []SpacedRevocation
	whole := bytes.LastIndexByte(text, '\n') + 1
	lines := bufio.NewScanner(bytes.NewReader(text[:whole]))
	lines.Buffer(nil, maxRevocationLine)
	for n := 1; lines.Scan(); n++ {
		var v SpacedRevocation
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			return nil, nil, fmt.Errorf("%s, line %d: %w: tokens that were revoked would be accepted again; remove the line to accept that", path, n, err)
		}
		if v.Expires.After(now) {
			kept = append(kept, v)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	f := new(revocationFile)
	f.file, err = rewriteRevocations(path, kept)
	return f, kept, err
}

// rewriteRevocations replaces the file by one with some revocations, and returns it open
// for appending.
func rewriteRevocations(path string, list []SpacedRevocation) (*os.File, error) {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	appendRevocations(&text, list)
	_, err = file.Write(text.Bytes())
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err == nil {
		err = syncDirectory(filepath.Dir(path))
	}
	if err != nil {
		file.Close()
		os.Remove(file.Name()) //nolint:errcheck // it may have its name already
		return nil, err
	}
	return file, nil
}

// syncDirectory makes a renamed file survive a crash of the machine.
func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func appendRevocations(b *bytes.Buffer, list []SpacedRevocation) {
	e := json.NewEncoder(b)
	for i := range list {
		if err := e.Encode(&list[i]); err != nil {
			panic(err) // texts and times can always be encoded
		}
	}
}

// write adds revocations. They survive a crash of the machine when it returns nil.
func (f *revocationFile) write(list []SpacedRevocation) error {
	f.waiting.Lock()
	appendRevocations(&f.lines, list)
	w, first := f.batch, false
	if w == nil {
		w, first = &writing{done: make(chan struct{})}, true
		f.batch = w
	}
	f.waiting.Unlock()
	if !first {
		<-w.done
		return w.err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting.Lock()
	text := bytes.Clone(f.lines.Bytes())
	f.lines.Reset()
	f.batch = nil
	f.waiting.Unlock()
	w.err = f.append(text)
	close(w.done)
	return w.err
}

// append writes text to the end of the file. The caller holds mu.
func (f *revocationFile) append(text []byte) error {
	if f.file == nil {
		return fs.ErrClosed
	}
	before, err := f.file.Seek(0, 2)
	if err != nil {
		return err
	}
	if _, err = f.file.Write(text); err == nil {
		err = f.file.Sync()
	}
	if err != nil {
		f.file.Truncate(before) //nolint:errcheck // the disk is full, or broken: a line in part is left out when the file is read
	}
	return err
}

func (f *revocationFile) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	file := f.file
	f.file = nil
	return file.Close()
}
