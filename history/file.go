package history

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/mycelium-rt/mycelium/internal/records"
)

// fileHead begins a saved history. It is followed by two snapshots, of the spaces of
// this process alone and of the shared ones: parts, each behind its length, and a
// length of 0 at the end. Kept sessions come last, a part each.
const fileHead = "mycelium history 1\n"

const filePart = 64 << 10

// Save writes all messages and the sessions without a connection to a file, which [Store.Load] reads when the process is
// started again. It replaces the file as a whole or not at all.
func (s *Store) Save(name string) (err error) {
	// Always the same name: what a process has left that was killed here is replaced.
	f, err := os.OpenFile(name+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("history: saving: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("history: saving: %w", errors.Join(err, os.Remove(f.Name())))
		}
	}()
	b := bufio.NewWriter(f)
	b.WriteString(fileHead) //nolint:errcheck // errors of b come with Flush
	for _, l := range []*logs{s.own, s.shared} {
		if l != nil {
			w := records.NewWriter(filePart, func(part []byte) {
				b.Write(binary.AppendUvarint(nil, uint64(len(part)))) //nolint:errcheck // likewise
				b.Write(part)                                         //nolint:errcheck // likewise
			})
			x := extent{heads: slices.DeleteFunc(l.position(s.now()).marks, func(m mark) bool { return m.log == s.stream.log() })} // which the stream has
			s.write(w, l, x)
			w.Flush()
		}
		b.WriteByte(0) //nolint:errcheck // likewise
	}
	s.sessions.save(func(part []byte) {
		b.Write(binary.AppendUvarint(nil, uint64(len(part)))) //nolint:errcheck // likewise
		b.Write(part)                                         //nolint:errcheck // likewise
	})
	b.WriteByte(0) //nolint:errcheck // likewise
	if err := errors.Join(b.Flush(), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// Load adds what is in a file that Save has written, and removes the file. Without
// a file it does nothing. The spaces must have their rules, and be shared if other nodes
// have them. What is too old by now is dropped, and so is what was in shared spaces if
// there are no other nodes any more.
func (s *Store) Load(name string) error {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("history: loading: %w", err)
	}
	defer f.Close()
	if err := s.load(bufio.NewReader(f)); err != nil {
		return fmt.Errorf("history: loading %s: %w", name, err)
	}
	return os.Remove(name)
}

func (s *Store) load(r *bufio.Reader) error {
	head := make([]byte, len(fileHead))
	if _, err := io.ReadFull(r, head); err != nil || string(head) != fileHead {
		return records.ErrMalformed
	}
	for _, l := range []*logs{s.own, s.shared} {
		parts, err := readFileParts(r)
		if err != nil {
			return err
		}
		if l == nil {
			continue
		}
		st, err := readParts(slices.Values(parts))
		if err != nil {
			return err
		}
		if l == s.own {
			s.restoreSaved(s.shared, st.cutSpaces(s.isShared))
		}
		s.restoreSaved(l, &st)
	}
	list, err := readFileParts(r)
	if errors.Is(err, io.EOF) { // of a version without sessions
		return nil
	}
	for _, part := range list {
		err = cmp.Or(err, s.sessions.load(part))
	}
	return err
}

// restoreSaved adds a saved state to the spaces of l.
func (s *Store) restoreSaved(l *logs, st *state) {
	if st == nil {
		return
	}
	s.restore(l, st)
	for _, m := range st.heads {
		l.setUp(m.log, false, s.now()) // until its node is heard
	}
}

// cutSpaces removes the spaces whose names match and returns them as a state. It returns nil
// if no name matches.
func (s *state) cutSpaces(match func(name string) bool) *state {
	cut := &state{heads: s.heads}
	s.spaces = slices.DeleteFunc(s.spaces, func(one spaceState) bool {
		if !match(one.name) {
			return false
		}
		cut.spaces = append(cut.spaces, one)
		return true
	})
	if len(cut.spaces) == 0 {
		return nil
	}
	return cut
}

// isShared reports whether all nodes have a space. One that was saved by a process without
// other nodes may have become shared since.
func (s *Store) isShared(space string) bool {
	return s.shared != nil && s.Open(space).logs.Load() == s.shared
}

// readFileParts reads the parts of a snapshot.
func readFileParts(r *bufio.Reader) (parts [][]byte, err error) {
	for {
		n, err := binary.ReadUvarint(r)
		switch {
		case err != nil:
			return nil, err
		case n == 0:
			return parts, nil
		case n > filePart:
			return nil, records.ErrMalformed
		}
		part := make([]byte, n)
		if _, err := io.ReadFull(r, part); err != nil {
			return nil, err
		}
		parts = append(parts, part)
	}
}
