package presence

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/mycelium-rt/mycelium/internal/callback"
	"github.com/mycelium-rt/mycelium/wire"
)

// An encoded meta is the JSON object that clients see: phx_ref comes first, then phx_ref_prev if there is one, then the
// application's members. So both refs have fixed positions.
const (
	refPrefix  = `{"phx_ref":"`
	prevPrefix = `,"phx_ref_prev":"`
	refSize    = 16 // characters
	refStart   = len(refPrefix)
	refEnd     = refStart + refSize
	prevStart  = refEnd + 1 + len(prevPrefix)
)

// buildMeta returns the encoded meta. members is what encodeMeta returned; prev is a ref or "".
func buildMeta(ref [refSize]byte, prev string, members []byte) string {
	var b strings.Builder
	size := refEnd + len(`"`) + len(`,`) + len(members) + len(`}`)
	if prev != "" {
		size += len(prevPrefix) + refSize + len(`"`)
	}
	b.Grow(size)
	b.WriteString(refPrefix)
	b.Write(ref[:])
	b.WriteByte('"')
	if prev != "" {
		b.WriteString(prevPrefix)
		b.WriteString(prev)
		b.WriteByte('"')
	}
	if len(members) > 0 {
		b.WriteByte(',')
		b.Write(members)
	}
	b.WriteByte('}')
	return b.String()
}

// refOf returns the phx_ref of an encoded meta, sharing its memory.
func refOf(meta string) string { return meta[refStart:refEnd] }

// prevOf returns the phx_ref_prev of an encoded meta, "" if there is none.
func prevOf(meta string) string {
	if !strings.HasPrefix(meta[refEnd+1:], prevPrefix) {
		return ""
	}
	return meta[prevStart : prevStart+refSize]
}

// withPrev returns an encoded meta with another phx_ref_prev, or none if prev is "".
func withPrev(meta, prev string) string {
	had := prevOf(meta)
	if had == prev {
		return meta
	}
	rest := meta[refEnd+1:]
	if had != "" {
		rest = meta[prevStart+refSize+1:]
	}
	members := strings.TrimPrefix(strings.TrimSuffix(rest, "}"), ",")
	return buildMeta([refSize]byte([]byte(refOf(meta))), prev, []byte(members))
}

// encodeMeta returns the members of meta as compact JSON, without the braces and without phx_ref and phx_ref_prev, in
// scratch.
func encodeMeta(scratch *[]byte, key string, meta any) (members []byte, err error) {
	if !utf8.ValidString(key) {
		return nil, ErrKeyNotText
	}
	if raw, ok := meta.(json.RawMessage); ok {
		*scratch = append((*scratch)[:0], raw...)
	} else if *scratch, err = appendJSON((*scratch)[:0], meta); err != nil {
		return nil, fmt.Errorf("presence: meta: %w", err)
	}
	// As strict as for messages of clients: one bad meta would make every state of its topic unreadable.
	object, err := wire.Validate(*scratch)
	if err != nil {
		return nil, fmt.Errorf("presence: meta: %w", err)
	}
	if !wire.IsObject(object) {
		return nil, ErrMetaNotObject
	}
	return dropRefs(object[1 : len(object)-1]), nil
}

// appendJSON encodes v without the HTML escapes that encoding/json adds by default. A panic in an application's
// MarshalJSON is returned as an error.
func appendJSON(dst []byte, v any) (json []byte, err error) {
	b := bytes.NewBuffer(dst)
	err = encode(b, v)
	return b.Bytes(), err
}

func encode(b *bytes.Buffer, v any) (err error) {
	defer callback.Recover("MarshalJSON", &err)
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// dropRefs removes the members phx_ref and phx_ref_prev from the members of a valid compact object, in place. Phoenix
// leaves them in, which makes an object with duplicate keys, of which clients could take the wrong one.
func dropRefs(members []byte) []byte {
	return dropMembers(members, "phx_ref", func(key string) bool { return key == "phx_ref" || key == "phx_ref_prev" })
}

// dropMembers removes the members for whose keys drop returns true from the members of a valid compact object, in place. All those keys contain
// hint.
func dropMembers(members []byte, hint string, drop func(key string) bool) []byte {
	if !bytes.Contains(members, []byte(hint)) && bytes.IndexByte(members, '\\') < 0 {
		return members
	}
	kept := members[:0]
	for i := 0; i < len(members); {
		colon := valueEnd(members, i)
		end := valueEnd(members, colon+1)
		if !drop(unquote(members[i:colon])) {
			if len(kept) > 0 {
				kept = append(kept, ',')
			}
			kept = append(kept, members[i:end]...)
		}
		i = end + 1
	}
	return kept
}

// unquote returns the value of a valid JSON string.
func unquote(quoted []byte) (s string) {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1])
	}
	_ = json.Unmarshal(quoted, &s) // it is valid
	return s
}

// valueEnd returns the index after the value at i, in valid compact JSON.
func valueEnd(b []byte, i int) int {
	depth := 0
	for ; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case ',', ':':
			if depth == 0 {
				return i
			}
		}
	}
	return i
}

// bufferKeep is the largest buffer that is kept for reuse, in bytes: the diff of a storm is of that order, and the pool
// gives memory back by itself.
const bufferKeep = 1 << 20

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// getBuffer returns an empty buffer for the duration of one call.
func getBuffer() *[]byte { return buffers.Get().(*[]byte) }

func putBuffer(b *[]byte) {
	if cap(*b) > bufferKeep {
		return
	}
	*b = (*b)[:0]
	buffers.Put(b)
}
