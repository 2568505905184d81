package cluster

import "fmt"

// Describe describes a packet in a few words, for traces.
func Describe(data []byte) string {
	pk, err := parsePacket(data)
	if err != nil {
		return err.Error()
	}
	r := reader{b: pk.body}
	switch pk.kind {
	case packetBatch:
		first, count := r.number(), 0
		for r.more() {
			r.bytes()
			count++
		}
		return fmt.Sprintf("entries %d to %d", first, first+uint64(count)-1)
	case packetHeartbeat:
		h, err := parseHeartbeat(pk.body)
		if err != nil {
			return "heartbeat: " + err.Error()
		}
		word := "heartbeat"
		if h.leaving {
			word = "goodbye"
		}
		return fmt.Sprintf("%s of %s: head %d", word, h.name, h.head)
	case packetAsk:
		return fmt.Sprintf("ask for %d to %d", r.number(), r.number())
	case packetWant:
		return fmt.Sprintf("want snapshot %d", r.number())
	case packetPart:
		id, at, until, index, count := r.number(), r.number(), r.number(), r.number(), r.number()
		return fmt.Sprintf("snapshot %d at %d to %d, part %d of %d", id, at, until, index, count)
	}
	return fmt.Sprintf("kind %d", pk.kind)
}
