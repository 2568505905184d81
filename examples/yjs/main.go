// Command yjs is a server of Yjs documents for npm's y-phoenix-channel: text,
// drawings or whatever else Yjs has types for, which several people edit at once.
//
//	go run ./examples/yjs
//
// Open http://localhost:4000/ in two windows and write. docs/examples.md has the
// same as a client of your own.
//
// # How it works
//
// The server does not know Yjs. It keeps a document as the list of all updates
// that clients have sent, in memory and in a file, passes each update on to the
// other clients, and sends the list to whoever joins. Yjs merges: an update may
// come twice, late, or in any order.
//
// Two cases need more. A client that lost its connection may have been edited
// meanwhile, and a list only grows. Both have one solution: the server asks a
// client for its whole state, which Yjs writes as one update. After a reconnect
// this brings what the client has written. And since it contains all that the
// server has sent to that client, it takes the place of those updates in the
// list. A client is asked when it joins with content of its own, and when the
// list has grown to twice its size since the last time.
//
// What this costs: a client that comes back is sent the whole document and sends
// it back, and whoever may edit a document can also ruin it, with a wrong state
// as with any other edit. A server that must know what its clients send needs
// an implementation of Yjs.
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

// joined is a channel's place in its document.
var joined = channels.NewKey[*member]("member")

// room serves the topics that y-phoenix-channel's own server serves.
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
	channels.On(ch, "yjs", receive)      // all others, which the server answers with yjs, too
	return ch
}

func receive(c *channels.Context, data channels.Binary) (channels.NoReply, error) {
	msg, err := decodeMessage(data)
	if err != nil {
		return channels.NoReply{}, channels.Errorf("no message of Yjs: %v", err)
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

// limits let a client be sent a whole log at once, and be asked for as much.
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
	folder := flag.String("folder", "documents", "folder of the documents")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *folder); err != nil {
		log.Fatal(err)
	}
}
