package netloop

// tlsBuffers are what the TLS connections of a loop use in turn. All are empty.
type tlsBuffers struct {
	records []byte // that are read
	plain   []byte // what was in them
	sealed  []byte // records that are written
}

// tlsBuffers returns the loop's buffers. One recv may complete a record that has begun before.
func (l *Loop) tlsBuffers() *tlsBuffers {
	if l.tls == nil {
		const record = 18 << 10
		l.tls = &tlsBuffers{make([]byte, 0, scratchSize+record), make([]byte, 0, scratchSize+record), make([]byte, 0, 2*sealMost)}
	}
	return l.tls
}

// sealMost is how many bytes of frames are encrypted at a time. They wait encrypted if the socket does not take them.
const sealMost = 16 << 10
