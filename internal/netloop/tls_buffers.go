package netloop

// tlsBuffers are buffers that the TLS connections of a loop use in turn. Between uses all are empty.
type tlsBuffers struct {
	records []byte // encrypted records that were received
	plain   []byte // their decrypted contents
	sealed  []byte // encrypted records to send
}

// tlsBuffers returns the loop's buffers. They have room for one recv and a record that it completes.
func (l *Loop) tlsBuffers() *tlsBuffers {
	if l.tls == nil {
		const record = 18 << 10
		l.tls = &tlsBuffers{make([]byte, 0, scratchSize+record), make([]byte, 0, scratchSize+record), make([]byte, 0, 2*sealChunk)}
	}
	return l.tls
}

// sealChunk bounds how many bytes of frames are encrypted at a time. They wait encrypted if the socket does not take
// them.
const sealChunk = 16 << 10
