package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// doc is a document and its editor: a client that sends one operation at a time, and comes
// back by any node that is ready when it is cut off or has no answer.
type doc struct {
	t     *testing.T
	id    string
	nodes []*node

	mu    sync.Mutex
	saved map[int64]string // by revision: the operation that the server said has made it; guarded by mu
	last  int64            // the highest revision of those; guarded by mu
	sent  int              // operations that were begun; guarded by mu
}

// answerTime is how long an editor waits for an answer before it tries another node.
const answerTime = 3 * time.Second

func (d *doc) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.saved)
}

// saved returns how many operations of all documents were saved.
func saved(docs []*doc) (n int) {
	for _, d := range docs {
		n += d.count()
	}
	return n
}

// edit edits until ctx ends.
func (d *doc) edit(ctx context.Context) {
	for ctx.Err() == nil {
		if n := d.nodes[rand.IntN(len(d.nodes))]; n.ready.Load() {
			d.visit(ctx, n)
		}
		select {
		case <-ctx.Done():
		case <-time.After(100*time.Millisecond + upTo(400*time.Millisecond)):
		}
	}
}

// visit is one connection.
func (d *doc) visit(ctx context.Context, n *node) {
	dial, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	conn, buffered, _, err := ws.Dial(dial, "ws://"+n.address+"/socket/"+d.id+"/websocket?vsn=2.0.0")
	if err != nil {
		return
	}
	if buffered != nil { // nothing is sent before a join
		ws.PutReader(buffered)
	}
	defer conn.Close()
	over := context.AfterFunc(ctx, func() { conn.Close() })
	defer over()
	if !d.push(conn, "phx_join", "join", fmt.Sprintf(`{"user":"editor","rev":%d}`, d.lastSaved())) {
		return
	}
	if _, ok := d.read(conn, "doc", ""); !ok {
		return
	}
	for ctx.Err() == nil {
		rev, id := d.lastSaved(), d.next()
		if !d.push(conn, "op", id, fmt.Sprintf(`{"rev":%d,"id":%q,"op":{"n":%q}}`, rev, id, id)) {
			return
		}
		answer, ok := d.read(conn, "phx_reply", id)
		if !ok {
			return
		}
		var reply struct {
			Status   string
			Response struct{ Rev int64 }
		}
		if err := json.Unmarshal(answer, &reply); err != nil || reply.Status != "ok" {
			return // the node cannot save now: another owner, or no majority
		}
		d.save(reply.Response.Rev, id)
		time.Sleep(upTo(200 * time.Millisecond))
	}
}

func (d *doc) push(conn net.Conn, event, ref, payload string) bool {
	conn.SetWriteDeadline(time.Now().Add(answerTime))
	return wsutil.WriteClientText(conn, fmt.Appendf(nil, `["1",%q,"doc",%q,%s]`, ref, event, payload)) == nil
}

// read returns the payload of the next message with an event, and a ref if it has one. On its way it notes what
// the document has and what comes.
func (d *doc) read(conn net.Conn, event, ref string) (payload json.RawMessage, ok bool) {
	for {
		conn.SetReadDeadline(time.Now().Add(answerTime))
		text, op, err := wsutil.ReadServerData(conn)
		if err != nil || op != ws.OpText {
			return nil, false
		}
		var v [5]json.RawMessage
		var gotEvent, gotRef string
		if json.Unmarshal(text, &v) != nil || json.Unmarshal(v[3], &gotEvent) != nil {
			d.t.Errorf("%s: got %.200q", d.id, text)
			return nil, false
		}
		json.Unmarshal(v[1], &gotRef)
		switch gotEvent {
		case "doc":
			d.checkDoc(v[4])
		case "op":
			d.note(v[4])
		case "phx_close", "phx_error":
			return nil, false // its node goes, or has lost it
		}
		if gotEvent == event && gotRef == ref {
			return v[4], true
		}
	}
}

// lastSaved returns the highest revision that was saved.
func (d *doc) lastSaved() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last
}

// next names an operation. One without an answer is not sent again: it may have been saved.
func (d *doc) next() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sent++
	return fmt.Sprint("op-", d.sent)
}

// save notes that an operation has made a revision, which no other may have made.
func (d *doc) save(rev int64, id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if was := d.saved[rev]; was != "" && was != id {
		d.t.Errorf("%s: revision %d is %s, and was %s", d.id, rev, id, was)
	}
	d.saved[rev] = id
	d.last = max(d.last, rev)
}

// note is save for an operation that came.
func (d *doc) note(payload json.RawMessage) {
	var op struct {
		Rev int64
		ID  string
	}
	if err := json.Unmarshal(payload, &op); err != nil {
		d.t.Errorf("%s: %v: %.200q", d.id, err, payload)
		return
	}
	d.save(op.Rev, op.ID)
}

// checkDoc compares a document as it comes with what was saved.
func (d *doc) checkDoc(payload json.RawMessage) {
	var doc struct {
		Rev int64
		Ops []struct {
			Rev int64
			ID  string
		}
		Doc struct{ N string }
	}
	if err := json.Unmarshal(payload, &doc); err != nil {
		d.t.Errorf("%s: %v: %.200q", d.id, err, payload)
		return
	}
	if last := d.lastSaved(); doc.Rev < last {
		d.t.Errorf("%s: the document is at revision %d, but %d was saved", d.id, doc.Rev, last)
	}
	for _, op := range doc.Ops {
		d.save(op.Rev, op.ID)
	}
	if doc.Ops == nil && doc.Doc.N != "" {
		d.save(doc.Rev, doc.Doc.N)
	}
}

// checkAll compares the operations that the server has in the end with those that it said
// were saved.
func (d *doc) checkAll() {
	d.t.Helper()
	from := max(0, d.lastSaved()-900) // the server keeps 1,000
	kept, err := d.kept(from)
	for deadline := time.Now().Add(patience); err != nil && time.Now().Before(deadline); kept, err = d.kept(from) {
		time.Sleep(200 * time.Millisecond) // 503 while nodes agree again who owns it
	}
	if err != nil {
		d.t.Errorf("%s: %v", d.id, err)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for rev, id := range d.saved {
		if rev > from && kept[rev] != id {
			d.t.Errorf("%s: revision %d is %q, and %s was saved", d.id, rev, kept[rev], id)
		}
	}
}

// kept returns the operations of the document after a revision, by revision.
func (d *doc) kept(from int64) (map[int64]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, buffered, _, err := ws.Dial(ctx, "ws://"+d.nodes[0].address+"/socket/"+d.id+"/websocket?vsn=2.0.0")
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if buffered != nil {
		ws.PutReader(buffered)
	}
	if !d.push(conn, "phx_join", "join", fmt.Sprintf(`{"user":"reader","rev":%d}`, from)) {
		return nil, errors.New("the last join was not sent")
	}
	payload, ok := d.read(conn, "doc", "")
	var doc struct {
		Ops []struct {
			Rev int64
			ID  string
		}
	}
	if !ok || json.Unmarshal(payload, &doc) != nil {
		return nil, fmt.Errorf("the last join was answered with %.200q", payload)
	}
	kept := map[int64]string{}
	for _, op := range doc.Ops {
		kept[op.Rev] = op.ID
	}
	return kept, nil
}
