// Package site serves the server's page at "/", which explains the server and has a live chat, and the example pages of
// the built-in types, each for the instance in its query: "/examples/chat?instance=ID".
//
// The assets are embedded in the binary and load nothing from another host. All except one are written by hand:
// assets/phoenix.js is npm's unmodified phoenix (with phoenix-license.txt), so that the pages are ordinary clients and
// their sources can serve as examples. A test in compat_tests/js checks that it is the version tested there. The
// example pages define the parts of a layout, example.html.
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

// contentTypes are listed because mime.TypeByExtension depends on the machine. Other kinds of files do not belong among
// the assets.
var contentTypes = map[string]string{
	".css":  "text/css; charset=utf-8",
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
	".txt":  "text/plain; charset=utf-8",
}

// contentSecurityPolicy lets the page load its own files and open WebSockets, and nothing else: no inline script or
// style. ws: and wss: are listed because in Safari before 15.4 'self' does not include WebSockets to the same host.
const contentSecurityPolicy = "default-src 'self'; connect-src 'self' ws: wss:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"

// pages are the addresses of the assets that are pages, one for each.
var pages = map[string]string{
	"/":                "/assets/index.html",
	"/examples/chat":   "/assets/chat.html",
	"/examples/game":   "/assets/game.html",
	"/examples/collab": "/assets/collab.html",
}

// defaultSocket is the socket path in the sources of the pages.
const defaultSocket = "/socket"

// Handler serves the page at "/", the examples, and their files below "/assets/", to GET and HEAD; any other path is a
// 404. The pages connect to the socket at the path socket. Their references are relative, so a reverse proxy may serve
// them below a path. The handler may be shared by several servers.
func Handler(socket string) http.Handler {
	return newHandler(assets, socket)
}

// handler maps request paths to files. It is immutable.
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
			panic(err) // embedded files can be read, and a test checks their kinds
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

// notFound returns the answer for a path that has no file. People who see it have usually mistyped the socket's path,
// or opened the socket's address in a browser.
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
