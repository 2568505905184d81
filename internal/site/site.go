// Package site is the page that the server shows at "/": what it is, how to connect, and a live chat; and the example
// pages of the types that are ready, each for the instance in its query: "/examples/chat?instance=ID".
//
// The assets are embedded in the binary and load nothing from another host. All but one are written by hand:
// assets/phoenix.js is npm's phoenix as it is (phoenix-license.txt beside it), so that the pages are clients like any other, and
// their sources examples of what to write. A test in compat_tests/js holds it to the version that is tested there. The
// example pages are the parts of a layout, example.html.
package site

import (
	"bytes"
	"embed"
	"html"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

//go:embed assets
var assets embed.FS

// contentTypes are written out because mime.TypeByExtension asks the machine it runs on. A file of another kind
// does not belong among the assets.
var contentTypes = map[string]string{
	".css":  "text/css; charset=utf-8",
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
	".txt":  "text/plain; charset=utf-8",
}

// contentSecurityPolicy lets the page load its own files and open WebSockets, and nothing else: no inline script or
// style. ws: and wss: stand beside 'self' because Safari before 15.4 does not take 'self' for a WebSocket to the same host.
const contentSecurityPolicy = "default-src 'self'; connect-src 'self' ws: wss:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"

// pages are the addresses of those assets that are read by people. One page, one address.
var pages = map[string]string{
	"/":                "/assets/index.html",
	"/examples/chat":   "/assets/chat.html",
	"/examples/game":   "/assets/game.html",
	"/examples/collab": "/assets/collab.html",
}

// defaultSocket is the path of the socket that the pages are written with.
const defaultSocket = "/socket"

// Handler serves the page at "/", the examples, and their files below "/assets/", to GET and HEAD; any other path is a 404.
// The pages connect to the socket at the path socket. Their references are relative, so that a reverse proxy may put them
// below a path. The handler may be shared by any number of servers.
func Handler(socket string) http.Handler {
	return newHandler(assets, socket)
}

// handler maps request paths to files. It is not changed after construction.
type handler struct {
	files  map[string]*file
	socket string
}

func newHandler(assets fs.FS, socket string) handler {
	h := handler{files: make(map[string]*file), socket: socket}
	names, err := fs.Glob(assets, "assets/*")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	for _, name := range names {
		f, err := readFile(assets, name, socket)
		if err != nil {
			panic(err) // embedded files can be read, and a test holds their kinds
		}
		h.files["/"+name] = f
	}
	for address, name := range pages {
		h.files[address] = h.files[name]
		delete(h.files, name)
	}
	return h
}

// ServeHTTP implements http.Handler.
func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, ok := h.files[r.URL.Path]
	if !ok {
		refuse(w, http.StatusNotFound, h.notFound(r.URL.Path))
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed, "Only GET and HEAD are served at "+path.Clean(r.URL.Path)+".\n")
		return
	}
	f.serve(w, r)
}

// notFound is the answer to a path that has no file. People who see it have usually mistyped the socket's path, or
// opened the socket's address in a browser.
func (h handler) notFound(path string) string {
	if path == h.socket || strings.HasPrefix(path, h.socket+"/") {
		return "Clients of Phoenix Channels connect to this address; it has no page. The server's page is at /.\n"
	}
	return "Not found. The page is at / and the socket at " + h.socket + ".\n"
}

// fillSocket returns a page with the path of the socket in place of the default one.
func fillSocket(page []byte, socket string) []byte {
	return bytes.ReplaceAll(page, []byte(defaultSocket), []byte(html.EscapeString(socket)))
}

func refuse(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // the client is gone if this fails
}
