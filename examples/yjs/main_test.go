package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
)

const topic = "y_doc_room:test"

// start serves the documents of a folder.
func start(t *testing.T, folder string) *channelstest.Endpoint {
	e := channelstest.Start(t, channels.Options{Limits: limits})
	e.Socket("/socket", channels.SocketOptions{}, room(newDocuments(folder)))
	return e
}

func encoded(m message) channels.Binary { return m.encode() }

func update(s string) channels.Binary { return encoded(message{kindSync, stepUpdate, []byte(s)}) }
func state(s string) channels.Binary  { return encoded(message{kindSync, stepState, []byte(s)}) }

// join joins with a state vector and expects these updates, the last of them as
// the state.
func join(t *testing.T, e *channelstest.Endpoint, vector []byte, updates ...string) *channelstest.Channel {
	t.Helper()
	ch := channelstest.Connect(t, e, "/socket").Join(topic, nil)
	ch.Push("yjs_sync", encoded(message{kindSync, stepVector, vector}))
	for i, u := range updates {
		if i == len(updates)-1 {
			ch.AssertPush("yjs", state(u))
		} else {
			ch.AssertPush("yjs", update(u))
		}
	}
	return ch
}

var question = encoded(message{kindSync, stepVector, emptyVector})

// TestDocument uses arbitrary bytes as updates, because the server does not read them.
func TestDocument(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	e := start(t, folder)
	ada := join(t, e, emptyVector, string(emptyUpdate))
	bob := join(t, e, emptyVector, string(emptyUpdate))
	if names, err := os.ReadDir(folder); err != nil || len(names) != 0 {
		t.Errorf("a document without content has a file: %v, %v", names, err)
	}
	ada.Push("yjs", update("a1"))
	bob.AssertBroadcast("yjs", update("a1"))
	bob.Push("yjs", update("b1"))
	ada.AssertBroadcast("yjs", update("b1"))

	// A client with content is asked for it. Updates that come meanwhile are kept.
	cat := join(t, e, []byte{1, 7, 1}, "a1", "b1")
	cat.AssertPush("yjs", question)
	ada.Push("yjs", update("a2"))
	cat.AssertBroadcast("yjs", update("a2"))
	cat.Push("yjs", state("a1 b1 c"))
	ada.AssertBroadcast("yjs", update("a1 b1 c"))
	bob.AssertBroadcast("yjs", update("a1 b1 c"))
	dan := join(t, e, emptyVector, "a2", "a1 b1 c")

	// A known state is not passed on.
	eve := join(t, e, []byte{1, 7, 1}, "a2", "a1 b1 c")
	eve.AssertPush("yjs", question)
	eve.Push("yjs", state("a1 b1 c"))
	dan.RefutePush("yjs", update("a1 b1 c"))

	for _, ch := range []*channelstest.Channel{ada, bob, cat, dan, eve} {
		ch.Leave() // it is answered after eve's state was handled
	}
	if names, err := os.ReadDir(folder); err != nil || len(names) != 1 {
		t.Errorf("%v, %v", names, err)
	}
	join(t, start(t, folder), emptyVector, "a1 b1 c")
}

func TestCompaction(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	e := start(t, folder)
	ada := join(t, e, emptyVector, string(emptyUpdate))
	bob := join(t, e, emptyVector, string(emptyUpdate))
	bob.Push("yjs", update("b"))
	ada.AssertBroadcast("yjs", update("b"))
	// Only the last of these takes the log over the limit, so ada is asked once.
	for n := range compactFrom/(1000+entryBytes) + 1 {
		ada.Push("yjs", update(fmt.Sprintf("%01000d", n)))
	}
	ada.AssertPush("yjs", question)
	ada.RefutePush("yjs", question)
	ada.Push("yjs", update("one more"))
	ada.Push("yjs", state("all"))
	bob.AssertBroadcast("yjs", update("all"))
	join(t, e, emptyVector, "all")
	names, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil || len(names) != 1 {
		t.Fatalf("%q, %v", names, err)
	}
	if data, err := os.ReadFile(names[0]); err != nil || !bytes.Equal(data, appendBytes(nil, []byte("all"))) {
		t.Errorf("the file has %q, %v", data, err)
	}
}

// TestFull checks that a client that writes beyond the limit of a log has to join again.
func TestFull(t *testing.T) {
	t.Parallel()
	e := start(t, t.TempDir())
	ada := join(t, e, emptyVector, string(emptyUpdate))
	ada.Push("yjs", update(strings.Repeat("a", maxLog/2)))
	ada.AssertPush("yjs", question)
	ada.Push("yjs", update(strings.Repeat("b", maxLog/2)))
	ada.AssertError()
	again := join(t, e, []byte{1, 7, 1}, strings.Repeat("a", maxLog/2))
	again.AssertPush("yjs", question)
	bob := join(t, e, emptyVector, strings.Repeat("a", maxLog/2))
	again.Push("yjs", state("less"))
	again.Push("yjs", update("on"))
	bob.AssertBroadcast("yjs", update("on"))
	join(t, e, emptyVector, "less", "on")
}

func TestAwareness(t *testing.T) {
	t.Parallel()
	e := start(t, t.TempDir())
	ada := join(t, e, emptyVector, string(emptyUpdate))
	bob := join(t, e, emptyVector, string(emptyUpdate))
	aware := func(id, clock uint64, state string) channels.Binary {
		return encoded(message{kind: kindAwareness, body: encodeAwareness([]change{{id, clock, []byte(state)}})})
	}
	ada.Push("yjs", aware(1, 1, `{"name":"ada"}`))
	bob.AssertBroadcast("yjs", aware(1, 1, `{"name":"ada"}`))
	bob.Push("yjs", aware(1, 1, `{"name":"ada"}`)) // as providers do with each state that they learn
	ada.RefutePush("yjs", nil)
	cat := join(t, e, emptyVector, string(emptyUpdate))
	cat.AssertPush("yjs", aware(1, 1, `{"name":"ada"}`))
	ada.Push("yjs", aware(2, 1, `{"name":"ada's other"}`))
	cat.AssertBroadcast("yjs", aware(2, 1, `{"name":"ada's other"}`))
	ada.Push("yjs", aware(2, 1, "null"))
	cat.AssertBroadcast("yjs", aware(2, 1, "null"))
	ada.Leave()
	bob.AssertBroadcast("yjs", aware(1, 1, "null"))
	bob.Push("yjs", encoded(message{kind: kindQueryAwareness}))
	bob.Push("yjs", aware(1, 1, `{"name":"a ghost"}`))
	cat.RefutePush("yjs", aware(1, 1, `{"name":"a ghost"}`))
}

func TestMalformed(t *testing.T) {
	t.Parallel()
	e := start(t, t.TempDir())
	ada := join(t, e, emptyVector, string(emptyUpdate))
	for data, reason := range map[string]string{
		"":                     "not a Yjs message: the message ends too early",
		"\x00":                 "not a Yjs message: the message ends too early",
		"\x00\x02\x05abc":      "not a Yjs message: the message ends too early",
		"\x00\x03\x00":         "not a Yjs message: unknown sync step 3",
		"\x07\x00":             "not a Yjs message: unknown kind of message 7",
		"\x01\x01\x05":         "the message ends too early",
		"\x01\x03\xff\xff\x7f": "more than 1000 clients",
	} {
		ada.Push("yjs", channels.Binary(data)).AssertReply("error", map[string]string{"reason": reason})
	}
	if _, reply := channelstest.Connect(t, e, "/socket").TryJoin("y_doc_room:", nil); reply.Status != "error" {
		t.Errorf("joined a document without a name: %s", reply.Response)
	}
}

// TestFile opens a file whose last update was not written completely.
func TestFile(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "document")
	if err := os.WriteFile(name, []byte("\x02ab\x01c\x05not"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, updates, err := openFile(name)
	if err != nil || fmt.Sprintf("%s", updates) != "[ab c]" {
		t.Fatalf("%s, %v", updates, err)
	}
	if err := f.add([]byte("d")); err != nil {
		t.Fatal(err)
	}
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
	f, updates, err = openFile(name)
	if err != nil || fmt.Sprintf("%s", updates) != "[ab c d]" {
		t.Errorf("%s, %v", updates, err)
	}
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
}

func FuzzDecodeMessage(f *testing.F) {
	for _, m := range []message{{kindSync, stepVector, emptyVector}, {kindSync, stepUpdate, []byte("u")}, {kind: kindAwareness, body: []byte{1, 1, 1, 1, '1'}}} {
		f.Add(m.encode())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decodeMessage(data)
		if err != nil {
			return
		}
		if again, err := decodeMessage(m.encode()); err != nil || again.kind != m.kind || again.step != m.step || !bytes.Equal(again.body, m.body) {
			t.Errorf("%+v becomes %+v, %v", m, again, err)
		}
		if m.kind == kindAwareness {
			if changes, err := decodeAwareness(m.body); err == nil && len(changes) > 0 {
				if again, err := decodeAwareness(encodeAwareness(changes)); err != nil || len(again) != len(changes) {
					t.Errorf("%+v becomes %+v, %v", changes, again, err)
				}
			}
		}
	})
}
