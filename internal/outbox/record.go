package outbox

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// Record is an item of a [Log]. The log does not interpret its fields, except Seq.
type Record struct {
	Seq   uint64 // number in the log, one more than that of the previous record
	Time  int64  // milliseconds since 1970
	Kind  uint8
	Who   uint64
	Topic string // at most MaxTopic bytes
	Body  []byte
}

// MaxTopic and MaxBody bound a record, in bytes.
const (
	MaxTopic = 1<<16 - 1
	MaxBody  = 1 << 30
)

// A record begins with its size without these 8 bytes, and the CRC-32C of what follows:
// the number, the time, who, the kind, the size of the topic, the topic, the body. All
// numbers are little-endian.
const (
	headSize  = 8
	fixedSize = 8 + 8 + 8 + 1 + 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errTorn is the error of a record that is not complete, or not as it was written.
var errTorn = errors.New("outbox: damaged record")

func appendRecord(dst []byte, r *Record) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint64(dst, r.Seq)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(r.Time))
	dst = binary.LittleEndian.AppendUint64(dst, r.Who)
	dst = append(dst, r.Kind)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(r.Topic)))
	dst = append(append(dst, r.Topic...), r.Body...)
	payload := dst[start+headSize:]
	binary.LittleEndian.PutUint32(dst[start:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(dst[start+4:], crc32.Checksum(payload, castagnoli))
	return dst
}

// readRecord decodes the first record of data and returns its size; 0 means that data
// has only a part of it. Body is a part of data.
func readRecord(data []byte) (r Record, size int, err error) {
	if len(data) < headSize {
		return Record{}, 0, nil
	}
	n := int(binary.LittleEndian.Uint32(data))
	if n < fixedSize || n > fixedSize+MaxTopic+MaxBody {
		return Record{}, 0, errTorn
	}
	if len(data) < headSize+n {
		return Record{}, 0, nil
	}
	payload := data[headSize : headSize+n]
	if crc32.Checksum(payload, castagnoli) != binary.LittleEndian.Uint32(data[4:]) {
		return Record{}, 0, errTorn
	}
	topic := int(binary.LittleEndian.Uint16(payload[25:]))
	if fixedSize+topic > n {
		return Record{}, 0, errTorn
	}
	return Record{
		Seq: binary.LittleEndian.Uint64(payload), Time: int64(binary.LittleEndian.Uint64(payload[8:])), Who: binary.LittleEndian.Uint64(payload[16:]),
		Kind: payload[24], Topic: string(payload[fixedSize : fixedSize+topic]), Body: payload[fixedSize+topic:],
	}, headSize + n, nil
}

// recordBytes returns the size of the record that begins with head, which has headSize
// bytes.
func recordBytes(head []byte) int { return headSize + int(binary.LittleEndian.Uint32(head)) }
