package site

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"time"
)

// file is one asset, ready to be served. It is immutable.
type file struct {
	content     []byte
	contentType string
	etag        string // strong: a hash of the content, quotes included
	shared      bool   // pages of other origins may import it
}

// clientLibrary is npm's phoenix, which pages of other origins may import: those of examples/backends have no build step.
const clientLibrary = "assets/phoenix.js"

func readFile(assets fs.FS, name, socket string) (*file, error) {
	contentType, ok := contentTypes[path.Ext(name)]
	if !ok {
		return nil, fmt.Errorf("site: %s: no content type for %q", name, path.Ext(name))
	}
	content, err := fs.ReadFile(assets, name)
	if err != nil {
		return nil, fmt.Errorf("site: %w", err)
	}
	if path.Ext(name) == ".html" {
		if content, err = page(content); err != nil {
			return nil, fmt.Errorf("site: %s: %w", name, err)
		}
		content = fillSocket(content, socket)
	}
	hash := sha256.Sum256(content)
	return &file{
		content:     content,
		contentType: contentType,
		etag:        `"` + base64.RawURLEncoding.EncodeToString(hash[:12]) + `"`,
		shared:      name == clientLibrary,
	}, nil
}

// layoutText is the layout shared by the pages of all examples.
//
//go:embed example.html
var layoutText string

// A page of an example defines the parts that the layout names, in the notation
// of text/template. That package is not used, because it calls methods by name:
// the linker then keeps all exported methods of all types, which made the server
// 5.5 MB larger.
var (
	definedPart = regexp.MustCompile(`(?s)\{\{define "([a-z-]+)"\}\}(.*?)\{\{end\}\}`)
	namedPart   = regexp.MustCompile(`\{\{template "([a-z-]+)"\}\}`)
)

// page returns a page with its layout.
func page(content []byte) ([]byte, error) {
	if !bytes.HasPrefix(content, []byte("{{define")) {
		return content, nil
	}
	parts := map[string]string{}
	for _, m := range definedPart.FindAllSubmatch(content, -1) {
		parts[string(m[1])] = string(m[2])
	}
	var missing error
	whole := namedPart.ReplaceAllStringFunc(layoutText, func(named string) string {
		name := namedPart.FindStringSubmatch(named)[1]
		text, ok := parts[name]
		if !ok {
			missing = fmt.Errorf("part %q is not defined", name)
		}
		return text
	})
	return []byte(whole), missing
}

// serve answers with the file, or with 304 if the client has it. Clients ask
// each time (no-cache), because files keep their names between versions of the
// server, and a page must not mix files of two versions.
func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Type", f.contentType)
	header.Set("ETag", f.etag)
	header.Set("Cache-Control", "no-cache")
	header.Set("Content-Security-Policy", contentSecurityPolicy)
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Content-Type-Options", "nosniff")
	if f.shared {
		header.Set("Access-Control-Allow-Origin", "*")
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.content))
}
