package httpapi

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/mycelium-rt/mycelium/internal/logging"
)

// replayFile keeps requests with an Idempotency-Key and their answers, one on a line, over the
// end of the process. It is written before a request is answered, and written anew when half of
// it is old. A nil file keeps nothing.
type replayFile struct {
	path string       // static
	log  *logging.Log // static

	mu   sync.Mutex
	file *os.File // guarded by mu; nil once it is closed
	size int64    // guarded by mu
	most int64    // guarded by mu: the size at which it is written anew
}

// minReplayFile is the size up to which a file is not written anew.
const minReplayFile = 4 << 20

// openReplayFile opens a file, and returns the requests in it. A last line that was not written
// whole belongs to a request that was not answered.
func openReplayFile(path string, log *logging.Log) (*replayFile, []*repeat, error) {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	var list []*repeat
	for line := range bytes.Lines(text) {
		q := new(repeat)
		if json.Unmarshal(line, q) == nil {
			list = append(list, q)
		}
	}
	f := &replayFile{path: path, log: log}
	return f, list, nil
}

// rewrite replaces the file by one with some requests. mu is held, or f is not shared yet.
func (f *replayFile) rewrite(list []*repeat) error {
	file, err := os.CreateTemp(filepath.Dir(f.path), filepath.Base(f.path)+".*")
	if err != nil {
		return err
	}
	w := bufio.NewWriter(file)
	for _, q := range list {
		w.Write(lineOf(q)) //nolint:errcheck // Flush returns it
	}
	err = w.Flush()
	var size int64
	if err == nil {
		size, err = file.Seek(0, io.SeekEnd)
	}
	if err == nil {
		err = os.Rename(file.Name(), f.path)
	}
	if err != nil {
		file.Close()
		os.Remove(file.Name()) //nolint:errcheck // err says what is wrong
		return err
	}
	if f.file != nil {
		f.file.Close()
	}
	f.file, f.size, f.most = file, size, max(minReplayFile, 2*size)
	return nil
}

func lineOf(q *repeat) []byte {
	text, err := json.Marshal(q)
	if err != nil {
		panic(err) // texts and numbers can be encoded
	}
	return append(text, '\n')
}

// keep adds a request that has been carried out. all returns those that are still wanted. The
// request is answered even if the file cannot be written.
func (f *replayFile) keep(q *repeat, all func() []*repeat) {
	if f == nil {
		return
	}
	line := lineOf(q)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return
	}
	_, err := f.file.WriteAt(line, f.size) // over what a write that failed has left
	if err == nil {
		if f.size += int64(len(line)); f.size > f.most {
			err = f.rewrite(append(all(), q))
		}
	}
	if err != nil {
		f.log.Error("could not store an idempotency key; after a restart, its request could be carried out twice").Err(err).Write()
	}
}

func (f *replayFile) close() error {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	file := f.file
	if f.file = nil; file == nil {
		return nil
	}
	return file.Close()
}

// openReplays returns the requests that a file has kept; "" keeps them in memory.
func (a *API) openReplays(path string) error {
	a.replays = &replays{now: a.options.Now}
	if path == "" {
		return nil
	}
	f, list, err := openReplayFile(path, a.log)
	if err != nil {
		return fmt.Errorf("httpapi: %w", err)
	}
	for _, q := range list {
		a.replays.learn(q)
	}
	if err := f.rewrite(a.replays.all()); err != nil {
		return fmt.Errorf("httpapi: %w", err)
	}
	a.replays.file = f
	return nil
}

// Close closes the file of Options.IdempotencyFile, which later APIs share. It is called when
// no API is used any more.
func (a *API) Close() error { return a.replays.file.close() }
