package site

import (
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func request(t *testing.T, method, target string, header http.Header) (*http.Response, string) {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for name, values := range header {
		r.Header[name] = values
	}
	w := httptest.NewRecorder()
	Handler(defaultSocket).ServeHTTP(w, r)
	response := w.Result()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

func assetNames(t *testing.T) []string {
	t.Helper()
	names, err := fs.Glob(assets, "assets/*")
	if err != nil || len(names) == 0 {
		t.Fatalf("no assets: %v", err)
	}
	return names
}

// asset returns an asset as it is served.
func asset(t *testing.T, name string) string {
	t.Helper()
	f, err := readFile(assets, name, defaultSocket)
	if err != nil {
		t.Fatal(err)
	}
	return string(f.content)
}

// addresses maps each asset to the path it is served at.
func addresses(t *testing.T) map[string]string {
	t.Helper()
	served := make(map[string]string)
	for _, name := range assetNames(t) {
		served[name] = "/" + name
	}
	for address, name := range pages {
		served[strings.TrimPrefix(name, "/")] = address
	}
	return served
}

func TestEveryAssetIsServed(t *testing.T) {
	for name, target := range addresses(t) {
		want := asset(t, name)
		response, body := request(t, http.MethodGet, target, nil)
		if response.StatusCode != http.StatusOK || body != want {
			t.Errorf("%s: status %d, %d bytes; want 200 and the %d bytes of %s", target, response.StatusCode, len(body), len(want), name)
		}
		for header, want := range map[string]string{
			"Content-Type":            contentTypes[path.Ext(name)],
			"Cache-Control":           "no-cache",
			"Content-Security-Policy": contentSecurityPolicy,
			"X-Content-Type-Options":  "nosniff",
		} {
			if got := response.Header.Get(header); got != want {
				t.Errorf("%s: %s is %q, want %q", target, header, got, want)
			}
		}
		if shared := response.Header.Get("Access-Control-Allow-Origin") == "*"; shared != (name == clientLibrary) {
			t.Errorf("%s: pages of other origins may read it: %v", target, shared)
		}
	}
}

func TestAnAssetTheClientHasIsNotSentAgain(t *testing.T) {
	etags := make(map[string]string)
	for name, target := range addresses(t) {
		first, _ := request(t, http.MethodGet, target, nil)
		etag := first.Header.Get("ETag")
		if !regexp.MustCompile(`^"[A-Za-z0-9_-]{16}"$`).MatchString(etag) {
			t.Fatalf("%s: ETag %q", target, etag)
		}
		if other, taken := etags[etag]; taken {
			t.Errorf("%s and %s share the ETag %s", name, other, etag)
		}
		etags[etag] = name
		again, body := request(t, http.MethodGet, target, http.Header{"If-None-Match": {etag}})
		if again.StatusCode != http.StatusNotModified || body != "" {
			t.Errorf("%s: status %d and %d bytes for its own ETag, want 304", target, again.StatusCode, len(body))
		}
		other, _ := request(t, http.MethodGet, target, http.Header{"If-None-Match": {`"of-another-version"`}})
		if other.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d for another ETag, want 200", target, other.StatusCode)
		}
	}
}

func TestHead(t *testing.T) {
	response, body := request(t, http.MethodHead, "/", nil)
	if response.StatusCode != http.StatusOK || body != "" || response.Header.Get("Content-Length") == "" {
		t.Errorf("HEAD /: status %d, length %q, body %q", response.StatusCode, response.Header.Get("Content-Length"), body)
	}
}

func TestOtherPathsAreNotFound(t *testing.T) {
	for _, target := range []string{"/x", "/index.html", "/assets", "/assets/", "/assets/index.html", "/assets/../site.go", "/sockets", "//"} {
		response, body := request(t, http.MethodGet, "http://localhost"+target, nil)
		if response.StatusCode != http.StatusNotFound {
			t.Errorf("%s: status %d, want 404", target, response.StatusCode)
		}
		if !strings.Contains(body, " / ") || !strings.Contains(body, "/socket") || strings.Count(body, "\n") != 1 {
			t.Errorf("%s: %q does not name / and /socket in one line", target, body)
		}
	}
}

// TestSocketElsewhere: the pages have the path of the socket from the server, and say what is at it.
func TestSocketElsewhere(t *testing.T) {
	h := Handler("/live&more")
	get := func(target string) (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
		return w.Code, w.Body.String()
	}
	for address := range pages {
		_, page := get(address)
		if !strings.Contains(page, `<html lang="en" data-socket="/live&amp;more">`) || strings.Contains(page, defaultSocket) {
			t.Errorf("the page at %s does not have the path of the socket", address)
		}
	}
	for target, want := range map[string]string{"/live&more": "no page", "/live&more/game-1": "no page", "/socket": "the socket at /live&more"} {
		if status, body := get(target); status != http.StatusNotFound || !strings.Contains(body, want) {
			t.Errorf("%s: %d %q, want 404 with %q", target, status, body, want)
		}
	}
}

func TestOtherMethodsAreRefused(t *testing.T) {
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		response, _ := request(t, method, "/", nil)
		if response.StatusCode != http.StatusMethodNotAllowed || response.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s /: status %d, Allow %q", method, response.StatusCode, response.Header.Get("Allow"))
		}
	}
}

// TestNothingComesFromAnotherHost: the only absolute addresses are the name of SVG and the page's own example.
func TestNothingComesFromAnotherHost(t *testing.T) {
	absolute := regexp.MustCompile(`(?i)(?:https?:|wss?:)?//[a-z0-9$][^\s"'<>)]*`)
	allowed := map[string]bool{"http://www.w3.org/2000/svg": true, "ws://localhost:4000/socket": true, "http://localhost:4000/api/instances": true, "http://localhost:4000": true, "http://localhost:4000/": true}
	for _, name := range assetNames(t) {
		if name == clientLibrary {
			continue // a comment and the page's own host
		}
		content := asset(t, name)
		for _, address := range absolute.FindAllString(content, -1) {
			if !allowed[address] && !strings.HasPrefix(address, "//${location.host}") && address != "//host/socket" && address != "ws://host/socket" {
				t.Errorf("%s names %s", name, address)
			}
		}
	}
}

// TestThePageObeysItsPolicy: what the policy forbids would be missing in the browser without a word.
func TestThePageObeysItsPolicy(t *testing.T) {
	for address := range pages {
		_, page := request(t, http.MethodGet, address, nil)
		for what, pattern := range map[string]string{
			"an inline script":  `(?is)<script[^>]*>[^<]`,
			"an inline style":   `(?i)<style|\sstyle\s*=`,
			"an inline handler": `(?i)<[^>]*\son[a-z]+\s*=`,
		} {
			if found := regexp.MustCompile(pattern).FindString(page); found != "" {
				t.Errorf("the page at %s has %s: %s", address, what, found)
			}
		}
	}
	if strings.Contains(contentSecurityPolicy, "unsafe") {
		t.Errorf("the policy is open: %s", contentSecurityPolicy)
	}
}

// TestEveryReferenceIsServed follows what the assets name: sources, links, imports, masks. Each is relative, so that a proxy
// may put the server below a path.
func TestEveryReferenceIsServed(t *testing.T) {
	reference := regexp.MustCompile(`(?:src="|href="|url\()([^#")]+)|from "([^"]+)"`)
	found := 0
	served := addresses(t)
	for _, name := range assetNames(t) {
		if name == clientLibrary {
			continue // its comments have imports of the package
		}
		content := asset(t, name)
		for _, match := range reference.FindAllStringSubmatch(content, -1) {
			reference := match[1] + match[2]
			if strings.HasPrefix(reference, "/") {
				t.Errorf("%s names %s, which is not relative", name, reference)
			}
			target, err := (&url.URL{Path: served[name]}).Parse(reference)
			if err != nil {
				t.Fatal(err)
			}
			found++
			if target.Path == "/observer" {
				continue // the observer's own package serves it
			}
			if response, _ := request(t, http.MethodGet, target.Path, nil); response.StatusCode != http.StatusOK {
				t.Errorf("%s names %s: status %d", name, target, response.StatusCode)
			}
		}
	}
	if found < len(assetNames(t))-1 {
		t.Errorf("%d references for %d assets: an asset is not used", found, len(assetNames(t)))
	}
}

// TestNoMarkupFromText: what people write reaches the page as text only.
func TestNoMarkupFromText(t *testing.T) {
	for _, name := range assetNames(t) {
		content := asset(t, name)
		for _, way := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"} {
			if strings.Contains(content, way) {
				t.Errorf("%s uses %s", name, way)
			}
		}
	}
}

func TestAnUnknownKindOfFileIsAnError(t *testing.T) {
	if _, err := readFile(fstest.MapFS{"assets/a.exe": {}}, "assets/a.exe", defaultSocket); err == nil {
		t.Error("a file without a content type was taken")
	}
	if _, err := readFile(fstest.MapFS{}, "assets/a.js", defaultSocket); err == nil {
		t.Error("a missing file was taken")
	}
	if _, err := readFile(fstest.MapFS{"assets/a.html": {Data: []byte(`{{define "title"}}A{{end}}`)}}, "assets/a.html", defaultSocket); err == nil {
		t.Error("a page without the parts of the layout was taken")
	}
}
