// Package websocket is RFC 6455, the server's side, as a state machine: bytes
// go in, messages and bytes to send come out. It does no I/O, starts no
// goroutine and reads no clock, so an event loop and a test drive it alike.
//
// The way of a connection: collect bytes until HeadEnd finds the end of the
// request head, ParseRequest it, CheckUpgrade, AppendAccept (or
// AppendRefusal); from then on give every slice that was read, the rest of
// the first one included, to a Decoder. Outgoing frames are made by
// AppendFrame, AppendClose, or PutHeader before a payload that is there already.
// Where NegotiateDeflate and AppendAccept have agreed to compression, a Decoder
// with that Deflate decompresses, and Compress makes frames for those it Takes.
//
// Request lines and lists of extensions are read by gobwas/httphead, payloads
// are unmasked by the Cipher of gobwas/ws. Its upgrader is not used, because it
// would parse a head a second time; nor are its frame readers: they
// need a blocking reader, trust the length that a peer claims, and check
// neither mask nor reserved bits.
package websocket
