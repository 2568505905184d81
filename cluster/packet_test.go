package cluster

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/hubtest"
)

func TestHeartbeat(t *testing.T) {
	want := heartbeat{
		name: "node-1", address: "10.0.0.1:4000", oldest: 1, newest: 3, head: 1 << 40, uptime: 90 * time.Second, leaving: true, info: []byte("sockets=5"),
	}
	b := want.append(nil)
	got, err := parseHeartbeat(b)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	later := binary.AppendUvarint(bytes.Clone(b), 99) // a field of a later version
	later = append(binary.AppendUvarint(later, 3), "abc"...)
	if got, err := parseHeartbeat(later); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("with an unknown field: %+v, %v", got, err)
	}
	whole := 0 // those that end behind one of the fields that may be missing
	for n := range b {
		if _, err := parseHeartbeat(b[:n]); err == nil {
			whole++
		}
	}
	if whole != 4 {
		t.Errorf("%d beginnings of a heartbeat were taken for one, want 4", whole)
	}
}

// TestBatchBytes holds the format of a batch to its bytes: other versions have to
// read them.
func TestBatchBytes(t *testing.T) {
	l := newOwnLog(Limits{}.withDefaults())
	l.append(0, entry("\x01one"))
	l.append(0, entry("\x04second"))
	b, next := l.appendBatch(appendHead(nil, 1, packetBatch, 0x0102030405060708), 1, l.head())
	want := "\x01\x01\x01\x02\x03\x04\x05\x06\x07\x08" + "\x01" + "\x04\x01one" + "\x07\x04second"
	if string(b) != want || next != 3 {
		t.Errorf("%q, %d, want %q, 3", b, next, want)
	}
	pk, err := parsePacket(b)
	if err != nil || pk.version != 1 || pk.kind != packetBatch || pk.log != 0x0102030405060708 {
		t.Errorf("%+v, %v", pk, err)
	}
	var got []string
	err = parseBatch(pk.body, func(n uint64, e entry) { got = append(got, string(rune('0'+n))+string(e)) })
	if err != nil || !reflect.DeepEqual(got, []string{"1\x01one", "2\x04second"}) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestBatchesKeepToPackets(t *testing.T) {
	l := newOwnLog(Limits{Packet: 1000}.withDefaults())
	for range 100 {
		l.append(0, make(entry, 300))
	}
	for from := uint64(1); from <= 100; {
		b, next := l.appendBatch(appendHead(nil, 1, packetBatch, 1), from, 100)
		if len(b) > 1000 || next != min(from+3, 101) {
			t.Fatalf("batch from %d: %d bytes, up to %d", from, len(b), next)
		}
		from = next
	}
}

// TestTrim: what was not sent stays, whatever its age, and what was sent stays for keepFor.
func TestTrim(t *testing.T) {
	l := newOwnLog(Limits{Keep: 1000}.withDefaults())
	for i := range 20 {
		l.append(time.Duration(i)*time.Second, make(entry, 100))
	}
	l.trim(time.Hour)
	if l.first != 1 || l.wait != 2000 {
		t.Errorf("unsent entries were trimmed: first %d, %d bytes wait", l.first, l.wait)
	}
	l.sent(20*time.Second, 16)
	l.trim(20 * time.Second)
	if l.first != 11 || l.bytes != 1000 || l.wait != 500 || l.keeps(10) || !l.keeps(11) {
		t.Errorf("first %d, %d bytes, %d wait", l.first, l.bytes, l.wait)
	}
	l.sent(time.Hour, 21)
	l.trim(time.Hour + keepFor)
	if l.first != 16 || l.bytes != 500 || l.keeps(15) || !l.keeps(16) {
		t.Errorf("what has waited for an hour is not kept once it is sent: first %d, %d bytes", l.first, l.bytes)
	}
	l.trim(time.Hour + keepFor + 1)
	if l.first != 21 || l.bytes != 0 || l.head() != 20 {
		t.Errorf("first %d, %d bytes, head %d", l.first, l.bytes, l.head())
	}
}

func TestFragments(t *testing.T) {
	for _, size := range []int{1, 100, 101, 1000, 12345} {
		e := make(entry, size)
		for i := range e {
			e[i] = byte(i)
		}
		e[0] = TypeBroadcast
		var j joiner
		parts := fragments(e, 100)
		for i, part := range parts {
			if len(part) > 100 {
				t.Errorf("%d bytes: part of %d", size, len(part))
			}
			whole, ok := j.join(part)
			if ok != (i == len(parts)-1) || ok && !bytes.Equal(whole, e) {
				t.Errorf("%d bytes: part %d of %d: %v", size, i, len(parts), ok)
			}
		}
		if len(parts) < 3 {
			continue
		}
		j.join(parts[1]) // the first is lost
		if _, ok := j.join(parts[len(parts)-1]); ok {
			t.Errorf("%d bytes: an entry without its beginning", size)
		}
		if whole, ok := j.join(entry("\x01x")); !ok || string(whole) != "\x01x" {
			t.Errorf("%d bytes: the next entry: %q", size, whole)
		}
	}
}

// FuzzReceive gives a node whatever comes: it must neither fail nor keep more
// than its limits.
func FuzzReceive(f *testing.F) {
	h := heartbeat{name: "peer", newest: 1, oldest: 1, head: 9}
	beat := h.append(appendHead(nil, 1, packetHeartbeat, 7))
	f.Add(beat)
	f.Add(append(appendHead(nil, 1, packetBatch, 7), 1, 2, 1, 'x', 3, 4, 'a', 'b'))
	f.Add(append(appendHead(nil, 1, packetAsk, 7), 1, 9))
	f.Add(append(appendHead(nil, 1, packetWant, 7), 0))
	f.Add(append(appendHead(nil, 1, packetPart, 7), 1, 9, 9, 0, 1, 4, 'x'))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := Start(hubtest.New[LogID]().Port(), SystemClock(), Options{Name: "self", Limits: Limits{Hold: 1000}})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		n.receive(beat)
		n.receive(data)
		n.receive(data)
		Describe(data)
		for _, p := range n.Stats().Peers {
			if p.Held > 1000 {
				t.Errorf("%d bytes are held", p.Held)
			}
		}
	})
}
