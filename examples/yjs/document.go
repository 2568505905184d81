package main

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/mycelium-rt/mycelium/channels"
)

const (
	maxLog      = 8 << 20  // bytes of a log; a client must be able to send as much in one message
	compactFrom = 64 << 10 // bytes of the smallest log that is compacted
	entryBytes  = 64       // what an entry counts in addition to its update
)

var errFull = fmt.Errorf("the document has more than %d bytes", maxLog)

// document is a log of updates. Yjs applies updates in any order and any number of
// times, so an update with the content of several others can replace them.
type document struct {
	name    string
	members int // guarded by documents.mu

	// mu guards the fields below and those of members. It is held while updates are
	// sent, so that clients get them in the order of the log.
	mu        sync.Mutex
	file      *file
	log       updateLog
	askAbove  int    // bytes of the log above which the next writer is asked to compact it
	newest    uint64 // id of the newest member
	awareness awareness
}

// member is a client that has joined a document.
type member struct {
	c   *channels.Context
	doc *document
	id  uint64 // in the log

	asked  bool   // for its whole state, and it has not answered yet
	covers uint64 // number of the newest entry when it was asked
}

func openDocument(folder, name string) (*document, error) {
	// Clients choose the name, so the file's name has it in hexadecimal digits.
	f, updates, err := openFile(filepath.Join(folder, hex.EncodeToString([]byte(name))+".yjs"))
	if err != nil {
		return nil, err
	}
	d := &document{name: name, file: f, awareness: make(awareness)}
	for _, u := range updates {
		d.log.add(0, u)
	}
	d.setAskAbove()
	return d, nil
}

// join makes a client a member.
func (d *document) join(c *channels.Context) *member {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.newest++
	return &member{c: c, doc: d, id: d.newest}
}

// setAskAbove sets the size at which the log is compacted: twice its present size, or
// half of the way to its limit.
func (d *document) setAskAbove() { // with mu
	d.askAbove = max(compactFrom, min(2*d.log.size, (d.log.size+maxLog)/2))
}

// sync answers a client's state vector with all updates; Yjs ignores those that it
// has. The last one is sent as the state that the vector asks for, because the
// provider is synced when it gets that.
//
// A client that has content may have written some of it while disconnected, so it is
// asked for its whole state in turn.
func (d *document) sync(m *member, vector []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	state := emptyUpdate
	if n := len(d.log.entries); n > 0 {
		for _, e := range d.log.entries[:n-1] {
			if err := m.push(message{kindSync, stepUpdate, e.update}); err != nil {
				return err
			}
		}
		state = d.log.entries[n-1].update
	}
	if err := m.push(message{kindSync, stepState, state}); err != nil {
		return err
	}
	if all := d.awareness.all(); all != nil {
		if err := m.push(message{kind: kindAwareness, body: all}); err != nil {
			return err
		}
	}
	if bytes.Equal(vector, emptyVector) {
		return nil
	}
	return d.ask(m)
}

// ask asks a client for its whole state, with the state vector of an empty document.
func (d *document) ask(m *member) error { // with mu
	if m.asked {
		return nil
	}
	m.asked, m.covers = true, d.log.last
	return m.push(message{kindSync, stepVector, emptyVector})
}

// add adds an update that a client has made, and asks that client to compact the log
// if it is large enough.
func (d *document) add(m *member, update []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.log.size+len(update)+entryBytes > maxLog {
		m.c.Stop(errFull) // the provider joins again, and is asked for its state
		return nil
	}
	update = bytes.Clone(update)
	if err := d.file.add(update); err != nil {
		return err
	}
	d.log.add(m.id, update)
	if err := m.pass(message{kindSync, stepUpdate, update}); err != nil || d.log.size <= d.askAbove {
		return err
	}
	d.setAskAbove() // so that another client is asked if this one does not answer
	return d.ask(m)
}

// answer handles a client's whole state. It contains what the client has sent, and what
// was sent to it before it was asked, and replaces that in the log. What others have
// sent since may not be part of it, and stays.
func (d *document) answer(m *member, state []byte) error {
	d.mu.Lock()
	if !m.asked {
		d.mu.Unlock()
		return d.add(m, state) // not asked for: an update like any other
	}
	defer d.mu.Unlock()
	m.asked = false
	known := d.log.has(state)
	if known && len(d.log.entries) == 1 {
		return nil
	}
	log := d.log.without(m.id, m.covers)
	if log.size+len(state)+entryBytes > maxLog {
		m.c.Stop(errFull)
		return nil
	}
	log.add(m.id, bytes.Clone(state))
	if err := d.file.replace(log.entries); err != nil {
		return err
	}
	d.log = log
	d.setAskAbove()
	if known {
		return nil
	}
	// The state may have content that no other client has.
	return m.pass(message{kindSync, stepUpdate, state})
}

// aware handles an awareness update of a client.
func (d *document) aware(m *member, update []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	news, err := d.awareness.apply(m, update)
	if err != nil {
		return channels.Errorf("%v", err)
	}
	if news == nil {
		return nil
	}
	return m.pass(message{kind: kindAwareness, body: news})
}

// everybody sends a client the awareness of all clients.
func (d *document) everybody(m *member) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if all := d.awareness.all(); all != nil {
		return m.push(message{kind: kindAwareness, body: all})
	}
	return nil
}

// leave tells the other clients that this one has left.
func (d *document) leave(m *member) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if gone := d.awareness.leave(m); gone != nil {
		m.pass(message{kind: kindAwareness, body: gone}) //nolint:errcheck // the others notice after 30 s
	}
}

func (m *member) push(msg message) error { return m.c.Push("yjs", channels.Binary(msg.encode())) }

// pass sends a message to the other clients.
func (m *member) pass(msg message) error {
	return m.c.BroadcastFrom("yjs", channels.Binary(msg.encode()))
}
