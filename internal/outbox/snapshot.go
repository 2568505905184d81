package outbox

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
)

// A snapshot is a file of records that stand for everything in a log before a number.
// That number is the Seq of its last record, which has nothing else; the Seq of all
// others is 0.

// WriteSnapshot replaces the snapshot at path, and returns its size. The records' numbers
// are not kept.
func WriteSnapshot(path string, seq uint64, records iter.Seq[Record]) (size int64, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("outbox: %w", err)
		}
	}()
	file, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	w := bufio.NewWriterSize(file, readSize)
	var buf []byte
	write := func(r *Record) error {
		buf = appendRecord(buf[:0], r)
		size += int64(len(buf))
		_, err := w.Write(buf)
		return err
	}
	for r := range records {
		r.Seq = 0
		if err = write(&r); err != nil {
			break
		}
	}
	if err == nil {
		err = write(&Record{Seq: seq})
	}
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return 0, err
	}
	return size, os.Rename(path+".new", path)
}

// ReadSnapshot calls take with each record of a snapshot and returns its number. The
// error is os.ErrNotExist if there is none.
func ReadSnapshot(path string, take func(Record)) (seq uint64, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("outbox: %w", err)
	}
	for len(text) > 0 {
		r, size, err := readRecord(text)
		if err == nil && size == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, fmt.Errorf("outbox: reading %s: %w", path, err)
		}
		if text = text[size:]; len(text) == 0 {
			return r.Seq, nil
		}
		take(r)
	}
	return 0, fmt.Errorf("outbox: reading %s: %w", path, io.ErrUnexpectedEOF)
}
