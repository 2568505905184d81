// Command yjs serves Yjs documents to npm's y-phoenix-channel: texts, drawings or
// whatever else Yjs has types for, which several people edit at once.
//
//	go run ./examples/yjs
//
// Open http://localhost:4000/ in two windows and write. docs/examples.md has a
// client for Node.
//
// # How it works
//
// The server does not interpret updates. It keeps a document as a log of all updates
// that clients have sent, in memory and in a file, passes each update on to the other
// clients, and sends the log to each client that joins. The clients merge: an update
// may come twice, late, or in any order.
//
// Two problems remain. The user of a client may go on writing while it is
// disconnected, and a log only grows. Both have one solution: the server asks a client
// for its whole state, which Yjs encodes as one update. After a reconnect, the state
// brings what the client has written. And since it contains everything that the server
// has sent to that client, it replaces those updates in the log. A client is asked when
// it joins with content of its own, and when the log has grown to twice its size since
// the last time.
//
// This has a cost: a client that reconnects is sent the whole document and sends it
// back. Also, whoever may edit a document can ruin it, with a wrong state as with any
// other edit. A server that must check what its clients send needs an implementation of
// Yjs.
package main

import (
	"context"
	"embed"
	"flag"
	"io/fs"
	"log"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/mycelium-rt/mycelium/channels"
)

//go:embed page
var page embed.FS

// joined is a channel's member of its document.
var joined = channels.NewKey[*member]("member")

// room serves the topics that the server of y-phoenix-channel serves.
func room(docs *documents) *channels.Channel {
	ch := channels.Handle("y_doc_room:*", func(c *channels.Context, _ struct{}) (channels.NoReply, error) {
		d, err := docs.join(c.Subtopic())
		if err != nil {
			return channels.NoReply{}, err
		}
		m := d.join(c)
		joined.Set(c, m)
		c.OnEnd(func() {
			d.leave(m)
			docs.leave(d)
		})
		return channels.NoReply{}, nil
	})
	channels.On(ch, "yjs_sync", receive) // the first message after a join
	channels.On(ch, "yjs", receive)      // all others
	return ch
}

func receive(c *channels.Context, data channels.Binary) (channels.NoReply, error) {
	msg, err := decodeMessage(data)
	if err != nil {
		return channels.NoReply{}, channels.Errorf("not a Yjs message: %v", err)
	}
	m := joined.Get(c)
	switch {
	case msg.kind == kindAwareness:
		err = m.doc.aware(m, msg.body)
	case msg.kind == kindQueryAwareness:
		err = m.doc.everybody(m)
	case msg.step == stepVector:
		err = m.doc.sync(m, msg.body)
	case msg.step == stepState:
		err = m.doc.answer(m, msg.body)
	default:
		err = m.doc.add(m, msg.body)
	}
	return channels.NoReply{}, err
}

// limits allow sending a whole log to a client at once, and receiving one.
var limits = channels.Limits{MaxMessage: maxLog + 1024, OutboundBytes: 2 * maxLog}

// run serves the documents in a folder, and the page, until ctx is done.
func run(ctx context.Context, addr, folder string) error {
	files, err := fs.Sub(page, "page")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	endpoint, err := channels.NewEndpoint(channels.Options{
		Handler: http.FileServerFS(files),
		Logger:  channels.SlogLogger(slog.Default()),
		Limits:  limits,
	})
	if err != nil {
		return err
	}
	endpoint.Socket("/socket", channels.SocketOptions{}, room(newDocuments(folder)))
	return endpoint.ListenAndServe(ctx, addr)
}

func main() {
	addr := flag.String("addr", "localhost:4000", "address to listen on")
	folder := flag.String("folder", "documents", "folder for the documents")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *folder); err != nil {
		log.Fatal(err)
	}
}
