// Package websocket implements the server side of RFC 6455 as a state machine:
// bytes go in, messages and bytes to send come out. It does no I/O, starts no
// goroutine and reads no clock, so an event loop and a test can drive it alike.
//
// To serve a connection, collect bytes until HeadEnd finds the end of the
// request head, then call ParseRequest, CheckUpgrade and AppendAccept (or
// AppendRefusal). From then on give everything that is read, including the rest
// of the first slice, to a Decoder. AppendFrame and AppendClose make outgoing
// frames; PutHeader puts a header before an existing payload. If
// NegotiateDeflate and AppendAccept have agreed on compression, a Decoder with
// that Deflate decompresses, and Compress makes frames for messages that it
// Takes.
//
// Request lines and lists of extensions are read by gobwas/httphead, payloads
// are unmasked by the Cipher of gobwas/ws. The upgrader of gobwas/ws is not
// used, because it would parse a head a second time. Its frame readers are not
// used either: they need a blocking reader, trust the length that a peer
// claims, and check neither mask nor reserved bits.
package websocket
