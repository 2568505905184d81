package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/instances"
)

// TestKeysOverRestart: a request that was answered is not carried out again by the next process, also if the one before
// was killed while it wrote.
func TestKeysOverRestart(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	file := filepath.Join(t.TempDir(), "idempotency")
	o := Options{Now: func() time.Time { return now }, IdempotencyFile: file}
	f := newFixture(t, o)
	want(t, f.call("POST", "/api/instances", `{"id":"a","type":"note"}`), 201)
	signal := func(key string) (replayed bool) {
		t.Helper()
		r := f.call("POST", "/api/instances/a/signal", `{"name":"echo","data":"`+key+`"}`, "Idempotency-Key", key)
		want(t, r, 200, `{"result":"`+key+`"}`)
		return r.Header.Get("Idempotency-Replayed") == "true"
	}
	restart := func() {
		t.Helper()
		if err := f.api.Close(); err != nil {
			t.Fatal(err)
		}
		o.Keys = f.api.keys
		var err error
		if f.api, err = New(f.manager, o); err != nil {
			t.Fatal(err)
		}
	}
	if signal("one") {
		t.Error("the first is said to be a replay")
	}
	text, err := os.ReadFile(file)
	if err != nil || strings.Count(string(text), "\n") != 1 {
		t.Fatalf("%q, %v", text, err)
	}
	if err := os.WriteFile(file, append(text, text[:len(text)/2]...), 0o600); err != nil {
		t.Fatal(err)
	}
	restart()
	if !signal("one") || signal("two") {
		t.Error("one is to be known after a restart, and two is not")
	}
	want(t, f.call("POST", "/api/instances/a/signal", `{"name":"echo","data":"else"}`, "Idempotency-Key", "one"), 422, "new key")
	restart()
	if !signal("one") || !signal("two") {
		t.Error("one and two are to be known after two restarts")
	}
	now = now.Add(2*replayFor + time.Second)
	restart()
	if signal("one") {
		t.Error("remembered for too long")
	}
	if text, err := os.ReadFile(file); err != nil || strings.Count(string(text), "\n") != 1 {
		t.Errorf("what is old is kept: %q, %v", text, err)
	}
	if err := f.api.Close(); err != nil {
		t.Error(err)
	}
}

// TestReplayFileIsBounded: a file of requests that are forgotten is written anew.
func TestReplayFileIsBounded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "idempotency")
	f := newFixture(t, Options{IdempotencyFile: file})
	kept := &repeat{Caller: "root", Key: "kept", At: time.Now(), Answer: &keptAnswer{Status: 204}}
	f.api.replays.learn(kept)
	large := &repeat{Caller: "root", Key: "forgotten", At: time.Now(), Answer: &keptAnswer{Status: 200, Body: make([]byte, 1<<20)}}
	for range 20 {
		f.api.replays.file.keep(large, f.api.replays.all)
	}
	if info, err := os.Stat(file); err != nil || info.Size() > 2*minReplayFile {
		t.Errorf("%d bytes, %v", info.Size(), err)
	}
	if err := f.api.Close(); err != nil {
		t.Error(err)
	}
	_, list, err := openReplayFile(file, f.api.log)
	if err != nil || len(list) == 0 || list[0].Key != "kept" {
		t.Errorf("%d are left, %v", len(list), err)
	}
}

// TestKeyAfterATornWrite: a part of a line, which a full disk has left, does not spoil the next
// line.
func TestKeyAfterATornWrite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "idempotency")
	f := newFixture(t, Options{IdempotencyFile: file})
	keep := func(key string) {
		f.api.replays.file.keep(&repeat{Caller: "root", Key: key, At: time.Now(), Answer: &keptAnswer{Status: 204}}, f.api.replays.all)
	}
	keep("before")
	if _, err := f.api.replays.file.file.Write([]byte(`{"caller":"root","key":"to`)); err != nil {
		t.Fatal(err)
	}
	keep("after")
	if err := f.api.Close(); err != nil {
		t.Fatal(err)
	}
	_, list, err := openReplayFile(file, f.api.log)
	if err != nil || len(list) != 2 || list[1].Key != "after" {
		t.Errorf("%d are kept, %v", len(list), err)
	}
}

// nodes are APIs that ask each other.
type nodes struct {
	list []*fixture
	down []atomic.Bool
	sent []atomic.Int64 // broadcasts on each
}

type fromNode struct{}

// startNodes starts nodes that run the instance "a".
func startNodes(t *testing.T, n int) *nodes {
	t.Helper()
	all := &nodes{down: make([]atomic.Bool, n), sent: make([]atomic.Int64, n)}
	for i := range n {
		f := newFixture(t, Options{
			Node: fmt.Sprint("node-", i),
			Caller: func(r *http.Request) string {
				name, _ := r.Context().Value(fromNode{}).(string)
				return name
			},
			Peers: func() (peers []Peer) {
				for j := range n {
					if j != i {
						peers = append(peers, Peer{Name: fmt.Sprint("node-", j), Ask: func(w http.ResponseWriter, r *http.Request, caller string) bool {
							if all.down[j].Load() {
								return false
							}
							all.list[j].api.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), fromNode{}, caller)))
							return true
						}})
					}
				}
				return peers
			},
		})
		f.manager.Register(instances.Define("everywhere", "On all nodes.", f.newNote).Spread())
		if _, err := f.manager.Declare(t.Context(), instances.Spec{ID: "a", Type: "everywhere"}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(f.guest("a").Subscribe("room:1", func(string, string, channels.Payload) { all.sent[i].Add(1) }).Close)
		all.list = append(all.list, f)
	}
	return all
}

// count returns how many broadcasts there were on all nodes.
func (all *nodes) count() (n int64) {
	for i, f := range all.list {
		f.guest("a").Subscribe("room:1", func(string, string, channels.Payload) {}).Close() // behind all that was sent before
		n += all.sent[i].Load()
	}
	return n
}

// broadcast sends a broadcast with a key to a node.
func (all *nodes) broadcast(t *testing.T, i int, key string) (replayed bool) {
	t.Helper()
	r := all.list[i].call("POST", "/api/instances/a/broadcast", `{"topic":"room:1","event":"e"}`, "Idempotency-Key", key)
	if r.StatusCode != http.StatusNoContent {
		t.Errorf("status %d", r.StatusCode)
	}
	return r.Header.Get("Idempotency-Replayed") == "true"
}

// TestKeysOfCluster: a request is carried out once, whichever nodes it is sent to, at a time or after each other, and
// also if the node that has carried it out is gone.
func TestKeysOfCluster(t *testing.T) {
	const keys = 12
	all := startNodes(t, 3)
	var work sync.WaitGroup
	for k := range keys {
		for i := range all.list {
			work.Go(func() { all.broadcast(t, i, fmt.Sprint("key-", k)) })
		}
	}
	work.Wait()
	if n := all.count(); n != keys {
		t.Errorf("%d broadcasts, want %d", n, keys)
	}
	for k := range keys {
		for i := range all.list {
			if !all.broadcast(t, i, fmt.Sprint("key-", k)) {
				t.Errorf("key-%d at node %d: not said to be a replay", k, i)
			}
		}
	}
	for gone := range all.list { // one node at a time
		all.down[gone].Store(true)
		for k := range keys {
			for i := range all.list {
				if i != gone && !all.broadcast(t, i, fmt.Sprint("key-", k)) {
					t.Errorf("key-%d at node %d without node %d: not said to be a replay", k, i, gone)
				}
			}
		}
		all.down[gone].Store(false)
	}
	if n := all.count(); n != keys {
		t.Errorf("%d broadcasts, want %d", n, keys)
	}
	want(t, all.list[0].call("POST", "/api/instances/a/broadcast", `{"topic":"room:2","event":"e"}`, "Idempotency-Key", "key-0"), 422, "new key")
	want(t, all.list[1].call("POST", "/api/instances/a/broadcast", `{"topic":"room:2","event":"e"}`, "Idempotency-Key", "key-0"), 422, "new key")
	want(t, all.list[0].call("POST", repeatPath, `{"key":"x"}`), 404, "nothing at this path")
	busy := 0
	for i := range all.sent {
		if all.sent[i].Load() > 0 {
			busy++
		}
	}
	if busy < 2 {
		t.Error("one node carries out everything")
	}
}

// TestTotals: sockets, users and topics over all nodes; who is on two nodes counts once.
func TestTotals(t *testing.T) {
	if n := countDistinct([][]byte{hashesOf([]string{"ada", "bob"}), hashesOf([]string{"bob", "eve", "dan"}), nil}); n != 4 {
		t.Errorf("%d names, want 4", n)
	}
	all := startNodes(t, 2)
	for i, f := range all.list {
		want(t, f.call("GET", "/api/instances/a/totals", ""), 200, `{"sockets":0,"users":0,"topics":1}`)
		want(t, f.call("GET", "/api/instances/a/topics", ""), 200, `{"topics":[{"topic":"room:1","subscribers":2}]}`)
		all.down[1-i].Store(true)
		want(t, f.call("GET", "/api/instances/a/totals", ""), 200, fmt.Sprintf(`{"sockets":0,"users":0,"topics":1,"missing":["node-%d"]}`, 1-i))
		want(t, f.call("GET", "/api/instances/a/topics?limit=1", ""), 200, `{"topics":[{"topic":"room:1","subscribers":1}],"missing":`)
		all.down[1-i].Store(false)
	}
}
