package outbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
)

// Cursor is a reader's position in a log, kept in a file. The file has two slots that are
// written in turn, so one of them is always whole. A Cursor belongs to one goroutine.
type Cursor struct {
	file       *os.File // nil: in memory
	generation uint64
	seq        uint64
}

// A slot has the generation, the number, and their CRC-32C.
const slotSize = 8 + 8 + 4

// OpenCursor opens the cursor in a file, which is made if it does not exist. Without a
// valid slot the cursor is at start. With the path "" it is in memory.
func OpenCursor(path string, start uint64) (*Cursor, error) {
	c := &Cursor{seq: start}
	if path == "" {
		return c, nil
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	c.file = file
	var slots [2 * slotSize]byte
	file.ReadAt(slots[:], 0) //nolint:errcheck // what cannot be read is no valid slot
	for _, slot := range [][]byte{slots[:slotSize], slots[slotSize:]} {
		generation := binary.LittleEndian.Uint64(slot)
		if generation > c.generation && crc32.Checksum(slot[:16], castagnoli) == binary.LittleEndian.Uint32(slot[16:]) {
			c.generation, c.seq = generation, binary.LittleEndian.Uint64(slot[8:])
		}
	}
	return c, nil
}

// Seq returns the position.
func (c *Cursor) Seq() uint64 { return c.seq }

// Set sets the position. When it returns, the position survives the end of the process.
func (c *Cursor) Set(seq uint64) error {
	c.seq = seq
	c.generation++
	if c.file == nil {
		return nil
	}
	slot := make([]byte, 0, slotSize)
	slot = binary.LittleEndian.AppendUint64(slot, c.generation)
	slot = binary.LittleEndian.AppendUint64(slot, seq)
	slot = binary.LittleEndian.AppendUint32(slot, crc32.Checksum(slot, castagnoli))
	if _, err := c.file.WriteAt(slot, int64(c.generation%2)*slotSize); err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	return nil
}

// Close closes the file.
func (c *Cursor) Close() error {
	if c.file == nil {
		return nil
	}
	return errors.Join(c.file.Sync(), c.file.Close())
}
