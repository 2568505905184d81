package cluster

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

var takeovers = flag.Int("takeovers", 0, "how many `takeovers` TestTakeovers waits for: make takeovers")

// trialKey is the servers' API key.
const trialKey = "myc_trial_0123456789abcdefghijklmnopqrstuvwxyz"

// TestTakeovers: documents that one node at a time runs go from node to node, because nodes
// are stopped and continued, killed, ended and cut off at random moments. Every operation
// that a client was told is saved is kept, at the revision that it was told.
func TestTakeovers(t *testing.T) {
	if *takeovers == 0 {
		t.Skip("only with -takeovers: make takeovers")
	}
	w := newNetwork(t, 3)
	places := w.places()
	config := keyFile(t)
	for i := range places {
		places[i].args = []string{"--data=" + filepath.Join(t.TempDir(), "mycelium.db"), "--config=" + config}
	}
	nodes := startNodes(t, places, "--cluster-instances=shared")
	docs := createDocs(t, nodes, 40)
	ctx, cancel := context.WithCancel(t.Context())
	var editing sync.WaitGroup
	defer func() { cancel(); editing.Wait() }()
	for _, d := range docs {
		editing.Go(func() { d.edit(ctx) })
	}
	wait(t, "all documents are edited", func() bool { return saved(docs) >= 2*len(docs) })
	o := watchOwners(t, nodes, len(docs))
	t.Logf("at first %v", o.shares())
	for begun := time.Now(); o.takeovers() < *takeovers && time.Since(begun) < 5*time.Minute+time.Duration(*takeovers)*2*time.Second; {
		what := disturb(t, w, nodes, o.choose(nodes))
		t.Logf("%d takeovers and %d operations after %s: %s; now %v", o.takeovers(), saved(docs), time.Since(begun).Round(time.Second), what, o.shares())
		if t.Failed() {
			return
		}
	}
	if n := o.takeovers(); n < *takeovers {
		t.Errorf("only %d takeovers", n)
	}
	awaitEdits(t, nodes, docs)
	cancel()
	editing.Wait()
	for _, d := range docs {
		d.checkAll()
	}
	t.Logf("%d documents, %d takeovers, %d operations", len(docs), o.takeovers(), saved(docs))
}

// awaitEdits waits until each document is edited again. If one is not, it shows what the
// nodes say about it.
func awaitEdits(t *testing.T, nodes []*node, docs []*doc) {
	t.Helper()
	before := map[*doc]int{}
	for _, d := range docs {
		before[d] = d.count()
	}
	for end := time.Now().Add(patience); len(before) > 0 && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		maps.DeleteFunc(before, func(d *doc, n int) bool { return d.count() > n+1 })
	}
	for d := range before {
		for _, n := range nodes {
			status, answer := request(t, http.MethodGet, n, "/api/instances/"+d.id, "")
			t.Errorf("%s is not edited again; %s says %d %s", d.id, n.name, status, answer)
		}
	}
}

// keyFile makes a configuration with the key.
func keyFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "mycelium.yaml")
	text := fmt.Sprintf("api:\n  keys:\n    - name: trial\n      hash: sha256:%x\n      scopes: [admin]\n", sha256.Sum256([]byte(trialKey)))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// disturb does something to node number i, for long enough to have others take its
// documents most of the time, and waits until all nodes are ready. It returns what it has
// done.
func disturb(t *testing.T, w *network, nodes []*node, i int) (what string) {
	t.Helper()
	n := nodes[i]
	time.Sleep(upTo(3 * time.Second)) // between two saves, in one, …
	begun := time.Now()
	switch kind := rand.IntN(4); kind {
	case 0:
		what = "stopped"
		n.signal(syscall.SIGSTOP)
		time.Sleep(5*time.Second + upTo(20*time.Second))
		n.signal(syscall.SIGCONT)
	case 1:
		what = "killed"
		n.signal(syscall.SIGKILL)
		n.awaitEnd()
		time.Sleep(upTo(20 * time.Second))
		n.start()
	case 2:
		what = "ended"
		n.signal(syscall.SIGTERM)
		n.awaitEnd()
		time.Sleep(upTo(3 * time.Second))
		n.start()
	case 3: // from the other nodes, not from clients; in both directions or in one
		away := rand.IntN(3)
		what = []string{"cut off", "deaf", "mute"}[away]
		for other := range nodes {
			if other != i {
				w.cut(i, other, away != 1)
				w.cut(other, i, away != 2)
			}
		}
		time.Sleep(5*time.Second + upTo(20*time.Second))
		for other := range nodes {
			w.cut(i, other, false)
			w.cut(other, i, false)
		}
	}
	what = fmt.Sprintf("%s was %s for %s", n.name, what, time.Since(begun).Round(100*time.Millisecond))
	n.ready.Store(false) // what it was before counts no more
	for _, n := range nodes {
		wait(t, n.name+" is ready", n.ready.Load)
	}
	return what
}

func upTo(d time.Duration) time.Duration { return time.Duration(rand.Int64N(int64(d))) }

// createDocs creates documents.
func createDocs(t *testing.T, nodes []*node, n int) (docs []*doc) {
	t.Helper()
	for i := range n {
		d := &doc{t: t, id: fmt.Sprint("doc-", i), nodes: nodes, saved: map[int64]string{}}
		docs = append(docs, d)
		wait(t, d.id+" is created", func() bool {
			body := fmt.Sprintf(`{"id":%q,"type":"collab","config":{"kind":"registers","durable":true,"log":1000}}`, d.id)
			status, _ := request(t, http.MethodPost, nodes[i%len(nodes)], "/api/instances", body)
			return status == http.StatusCreated || status == http.StatusOK
		})
	}
	return docs
}

// request sends a request of the API; a status of 0 means that there was no answer.
func request(t *testing.T, method string, n *node, path, body string) (status int, answer []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "http://"+n.address+path, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+trialKey)
	r.Header.Set("Content-Type", "application/json")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(r)
	if err != nil {
		return 0, nil
	}
	defer response.Body.Close()
	if answer, err = io.ReadAll(response.Body); err != nil {
		return 0, nil
	}
	return response.StatusCode, answer
}

// ownership is which node runs each document, as the API says.
type ownership struct {
	mu     sync.Mutex
	nodes  map[string]string // by document, guarded by mu
	counts map[string]int    // of changes, by document, guarded by mu
}

// watchOwners follows it until the test ends.
func watchOwners(t *testing.T, nodes []*node, docs int) *ownership {
	o := &ownership{nodes: map[string]string{}, counts: map[string]int{}}
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			if n := nodes[i%len(nodes)]; n.ready.Load() {
				if status, list := request(t, http.MethodGet, n, "/api/instances?limit=1000", ""); status == http.StatusOK {
					o.note(t, list)
				}
			}
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	})
	t.Cleanup(func() { cancel(); watching.Wait() })
	wait(t, "every document has an owner", func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return len(o.nodes) == docs
	})
	return o
}

func (o *ownership) note(t *testing.T, text []byte) {
	var list struct {
		Instances []struct{ ID, Node, State string }
	}
	if err := json.Unmarshal(text, &list); err != nil {
		t.Errorf("%v: %.200q", err, text)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, in := range list.Instances {
		if in.Node == "" || in.State != "running" {
			continue
		}
		if was := o.nodes[in.ID]; was != "" && was != in.Node {
			o.counts[in.ID]++
		}
		o.nodes[in.ID] = in.Node
	}
}

// shares returns how many documents each node runs.
func (o *ownership) shares() map[string]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := map[string]int{}
	for _, node := range o.nodes {
		n[node]++
	}
	return n
}

// choose chooses a node: one with more documents more often, others now and then.
func (o *ownership) choose(nodes []*node) int {
	shares := o.shares()
	var tickets []int
	for i, n := range nodes {
		tickets = append(tickets, slices.Repeat([]int{i}, 5+shares[n.name])...)
	}
	return tickets[rand.IntN(len(tickets))]
}

// takeovers returns how often a document has gone to another node.
func (o *ownership) takeovers() (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.counts {
		n += c
	}
	return n
}
