package certtest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net"
	"slices"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
)

// The types of records (RFC 8446, 5.1).
const (
	Alert       = 21
	Handshake   = 22
	Application = 23
)

// Records makes the records of a client whose handshake crypto/tls has made, also those that
// crypto/tls never sends.
type Records struct {
	version  uint16
	aead     cipher.AEAD
	iv       []byte // TLS 1.2: 4 bytes
	sequence uint64

	// TLS 1.3.
	secret []byte
	suite  uint16
}

// NewRecords makes the handshake of a client on c. Afterwards its records are written to c by
// the caller. What the server sends can be read from the tls.Conn.
func NewRecords(c net.Conn, config *tls.Config) (*Records, *tls.Conn, error) {
	config = config.Clone()
	var keys strings.Builder
	seen := &listener{Conn: c}
	config.KeyLogWriter = &keys
	if config.MaxVersion == tls.VersionTLS12 { // the one whose records Append makes
		config.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	}
	conn := tls.Client(seen, config)
	if err := conn.Handshake(); err != nil {
		return nil, nil, err
	}
	seen.done = true
	state := conn.ConnectionState()
	r := &Records{version: state.Version, suite: state.CipherSuite}
	label := map[uint16]string{tls.VersionTLS12: "CLIENT_RANDOM", tls.VersionTLS13: "CLIENT_TRAFFIC_SECRET_0"}[r.version]
	for line := range strings.Lines(keys.String()) {
		fields := strings.Fields(line)
		if fields[0] != label {
			continue
		}
		random, _ := hex.DecodeString(fields[1])
		secret, err := hex.DecodeString(fields[2])
		if err != nil {
			return nil, nil, err
		}
		if r.version == tls.VersionTLS13 {
			return r, conn, r.useSecret(secret)
		}
		const serverRandom = 5 + 4 + 2 // behind the heads of the record and of the ServerHello
		return r, conn, r.useMaster(secret, slices.Concat(seen.read[serverRandom:serverRandom+32], random))
	}
	return nil, nil, errors.New("certtest: no keys for this version")
}

// listener keeps what is read during the handshake.
type listener struct {
	net.Conn
	read []byte
	done bool
}

// Read implements net.Conn.
func (l *listener) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if !l.done {
		l.read = append(l.read, p[:n]...)
	}
	return n, err
}

// useMaster derives the keys of TLS 1.2 (RFC 5246, 5 and 6.3).
func (r *Records) useMaster(master, seed []byte) error {
	sum := func(data []byte) []byte {
		h := hmac.New(sha256.New, master)
		h.Write(data) // never returns an error
		return h.Sum(nil)
	}
	seed = append([]byte("key expansion"), seed...)
	var block []byte
	for a := sum(seed); len(block) < 16+16+4; a = sum(a) {
		block = append(block, sum(slices.Concat(a, seed))...)
	}
	r.iv, r.sequence = block[32:36], 1 // the first record was Finished
	return r.useKey(block[:16])
}

// useSecret derives the keys of TLS 1.3 (RFC 8446, 7.3).
func (r *Records) useSecret(secret []byte) (err error) {
	size := 16
	if r.suite == tls.TLS_CHACHA20_POLY1305_SHA256 {
		size = chacha20poly1305.KeySize
	}
	key, err := expand(secret, "key", size)
	if err != nil {
		return err
	}
	if r.iv, err = expand(secret, "iv", 12); err != nil {
		return err
	}
	r.secret, r.sequence = secret, 0
	return r.useKey(key)
}

func (r *Records) useKey(key []byte) (err error) {
	switch r.suite {
	case tls.TLS_CHACHA20_POLY1305_SHA256:
		r.aead, err = chacha20poly1305.New(key)
		return err
	case tls.TLS_AES_256_GCM_SHA384:
		return errors.New("certtest: no records for this suite")
	}
	block, err := aes.NewCipher(key)
	if err == nil {
		r.aead, err = cipher.NewGCM(block)
	}
	return err
}

// expand is HKDF-Expand-Label without a context (RFC 8446, 7.1).
func expand(secret []byte, label string, size int) ([]byte, error) {
	label = "tls13 " + label
	info := append(binary.BigEndian.AppendUint16(nil, uint16(size)), byte(len(label)))
	info = append(append(info, label...), 0)
	return hkdf.Expand(sha256.New, secret, string(info), size)
}

// Append appends a record of a type, with at most 16 KiB of content.
func (r *Records) Append(b []byte, kind byte, content []byte) []byte {
	sequence := binary.BigEndian.AppendUint64(nil, r.sequence)
	r.sequence++
	if r.version == tls.VersionTLS12 {
		length := binary.BigEndian.AppendUint16(nil, uint16(len(content)))
		b = append(b, kind, 3, 3)
		b = binary.BigEndian.AppendUint16(b, uint16(len(content)+8+r.aead.Overhead()))
		b = append(b, sequence...)
		nonce := slices.Concat(r.iv, sequence)
		return r.aead.Seal(b, nonce, content, append(append(sequence, kind, 3, 3), length...))
	}
	head := []byte{Application, 3, 3}
	head = binary.BigEndian.AppendUint16(head, uint16(len(content)+1+r.aead.Overhead()))
	nonce := slices.Clone(r.iv)
	for i, x := range sequence {
		nonce[4+i] ^= x
	}
	inner := slices.Concat(content, []byte{kind})
	return r.aead.Seal(append(b, head...), nonce, inner, head)
}

// AppendKeyUpdate appends the record that changes the client's keys and asks the server to
// do the same (RFC 8446, 4.6.3). It is for TLS 1.3.
func (r *Records) AppendKeyUpdate(b []byte) []byte {
	b = r.Append(b, Handshake, []byte{24, 0, 0, 1, 1})
	next, err := expand(r.secret, "traffic upd", sha256.Size)
	if err == nil {
		err = r.useSecret(next)
	}
	if err != nil {
		panic(err) // the sizes are constants
	}
	return b
}
