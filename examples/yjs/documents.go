package main

import (
	"sync"

	"github.com/mycelium-rt/mycelium/channels"
)

// maxName bounds the name of a document, in bytes: twice as many hexadecimal digits
// must fit into the name of a file.
const maxName = 100

// documents has the documents that somebody has joined.
type documents struct {
	folder string

	mu   sync.Mutex
	open map[string]*document // guarded by mu; by name
}

func newDocuments(folder string) *documents {
	return &documents{folder: folder, open: make(map[string]*document)}
}

// join returns the document with a name. The caller must call leave later.
func (ds *documents) join(name string) (*document, error) {
	if name == "" || len(name) > maxName {
		return nil, channels.Errorf("the name of a document must have 1 to %d bytes", maxName)
	}
	ds.mu.Lock()
	defer ds.mu.Unlock()
	d := ds.open[name]
	if d == nil {
		var err error
		if d, err = openDocument(ds.folder, name); err != nil {
			return nil, err
		}
		ds.open[name] = d
	}
	d.members++
	return d, nil
}

// leave closes the document if it was the last member's.
func (ds *documents) leave(d *document) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if d.members--; d.members == 0 {
		delete(ds.open, d.name)
		d.file.close() //nolint:errcheck // everything has been written
	}
}
