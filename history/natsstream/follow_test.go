package natsstream

import (
	"testing"

	"github.com/mycelium-rt/mycelium/cluster/natscluster"
	"github.com/mycelium-rt/mycelium/history"
)

// TestRenameTwice: two nodes that notice at the same time that their stream has lost messages
// give it the same new log.
func TestRenameTwice(t *testing.T) {
	transport, err := natscluster.Embed(natscluster.EmbedOptions{Cluster: "test", Name: "a", StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer transport.Close()
	js, err := transport.OpenJetStream()
	if err != nil {
		t.Fatal(err)
	}
	defer js.Conn().Close()
	a, b := New(history.NewStore(history.Options{}), Options{MaxBytes: 1 << 20}), New(history.NewStore(history.Options{}), Options{MaxBytes: 1 << 20})
	before, err := a.open(js)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.open(js); err != nil {
		t.Fatal(err)
	}
	old := logOf(before.CachedInfo())
	var logs []history.LogID
	for _, node := range []*Stream{a, b} { // each knows only the stream from before
		after, err := node.rename(js, before.CachedInfo().Config)
		if err != nil {
			t.Fatal(err)
		}
		logs = append(logs, logOf(after.CachedInfo()))
	}
	if logs[0] != logs[1] || logs[0] == old {
		t.Errorf("the log %x became %x and then %x", old, logs[0], logs[1])
	}
}

// TestUnwanted: a stream that no rule needs is not in trouble.
func TestUnwanted(t *testing.T) {
	s := New(history.NewStore(history.Options{}), Options{})
	if err := s.Trouble(); err != nil {
		t.Error(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestPurgeNothing: the server is not asked to remove what is below the first number.
func TestPurgeNothing(t *testing.T) {
	s := New(history.NewStore(history.Options{}), Options{})
	if err := s.purge(nil, "subject", 1); err != nil { // there is no server
		t.Error(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
