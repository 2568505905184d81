// Command liveapp is a server to test the client of Phoenix LiveView with. It is not an
// implementation of LiveView: it has a page with fixed HTML around a few values. It sends
// these in the form that the client renders, and then their changes.
//
// Each page has one view, whose state belongs to its channel:
//
//	/                     counts, reads a form, accepts files; /?page=N is a patch of it
//	/other                the same with another title
//	/stale, /crash        the first join is refused, or crashes; a reload shows /
//	/moved, /moved_live   the join is answered with a redirect to /login, and to /other
//	/login                a page without a view
package main

import (
	"context"
	"flag"
	"fmt"
	"html/template"
	"log"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/channels"
)

// document is a page with a view. The session identifies the view, whose content comes with
// the join.
var document = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>liveapp</title>
<link rel="icon" href="data:,">
<div id="phx-main" data-phx-main data-phx-session="{{.}}" data-phx-static="">Not connected yet</div>
<script type="module">
import { Socket } from "/phoenix.mjs"
import { LiveSocket } from "/phoenix_live_view.esm.js"
window.liveSocket = new LiveSocket("/live", Socket, {
  params: { time_zone: "UTC" }, reconnectAfterMs: () => 50, rejoinAfterMs: () => 50, reloadJitterMin: 50, reloadJitterMax: 100,
})
window.heard = []
window.addEventListener("phx:said", ({ detail }) => heard.push(detail))
liveSocket.connect()
</script>
</html>
`))

// pages serves the pages, and the client from a folder of npm packages.
func pages(modules string) http.Handler {
	mux := http.NewServeMux()
	for _, name := range []string{"/", "/other", "/stale", "/crash", "/moved", "/moved_live"} {
		mux.HandleFunc("GET "+name, func(w http.ResponseWriter, r *http.Request) {
			session := r.URL.Path
			// The cookie shows that the page was loaded before.
			if _, err := r.Cookie("seen"); err == nil && (session == "/stale" || session == "/crash") {
				session = "/"
			}
			http.SetCookie(w, &http.Cookie{Name: "seen", Value: "1"})
			if err := document.Execute(w, session); err != nil {
				panic(http.ErrAbortHandler)
			}
		})
	}
	mux.HandleFunc("GET /login", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "Log in") })
	for _, name := range []string{"phoenix/priv/static/phoenix.mjs", "phoenix_live_view/priv/static/phoenix_live_view.esm.js"} {
		mux.HandleFunc("GET /"+filepath.Base(name), func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
			http.ServeFile(w, r, filepath.Join(modules, name))
		})
	}
	return mux
}

func run(ctx context.Context, addr, modules string) error {
	logger := zerolog.New(os.Stderr)
	endpoint, err := channels.NewEndpoint(channels.Options{Logger: &logger, Handler: pages(modules)})
	if err != nil {
		return err
	}
	up := newUploads()
	endpoint.Socket("/live", channels.SocketOptions{}, live(up), upload(up))
	return endpoint.ListenAndServe(ctx, addr)
}

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "address to listen on")
	modules := flag.String("modules", "compat_tests/js/node_modules", "folder of npm packages")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *modules); err != nil {
		log.Fatal(err)
	}
}
