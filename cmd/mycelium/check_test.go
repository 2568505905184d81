package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/httpapi"
	"github.com/mycelium-rt/mycelium/internal/observer"
)

// problemsOf returns what "config check" prints about a configuration, and fails
// unless serve prints the same and neither starts.
func problemsOf(t *testing.T, environ []string, args ...string) string {
	t.Helper()
	var check, serve, stdout bytes.Buffer
	if code := run(t.Context(), append([]string{"config", "check"}, args...), environ, &stdout, &check); code != 2 || stdout.Len() > 0 {
		t.Errorf("config check %q: exit %d: %s%s", args, code, &stdout, &check)
	}
	if code := run(t.Context(), append([]string{"serve"}, args...), environ, &stdout, &serve); code != 2 || stdout.Len() > 0 {
		t.Errorf("serve %q: exit %d: %s", args, code, &serve)
	}
	if serve.String() != check.String() {
		t.Errorf("serve says\n%sand config check\n%s", &serve, &check)
	}
	return check.String()
}

// TestCheckAllAtOnce: everything that serve would trip over, in one go, each with
// its file and line.
func TestCheckAllAtOnce(t *testing.T) {
	dir := t.TempDir()
	certify(t, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "other.pem"), 1)
	certify(t, filepath.Join(dir, "other-cert.pem"), filepath.Join(dir, "key.pem"), 2)
	writeFile(t, filepath.Join(dir, "passwd"), "root")
	file := filepath.Join(dir, "c.yaml")
	text := `listen: 127.0.0.1:4000
data: DIR/passwd
metrics:
  listen: 192.0.2.1:4001
auth:
  secret: short
  join: ["a*b"]
tls:
  cert: DIR/cert.pem
  key: DIR/key.pem
api:
  keys:
    - {name: a, scopes: [read]}
    - name: b
      scope: [read]
instances:
  - {id: one, type: chet}
  - id: two
    type: relay
    config:
      window: 1s
      topics: ["a*b"]
  - {id: three, type: relay, limits: {max_message: 1099511627776, max_channels: 101}}
  - {id: one, type: relay}
  - id: five
    type: relay
    auth:
      jwks:
        urls: [ftp://hush:hush@example.com]
        timeout: 2m
        refresh: 1ms
  - {type: relay}
  - {id: default, type: relay}
  - {id: websocket, type: relay}
`
	writeFile(t, file, strings.ReplaceAll(text, "DIR", dir))
	said := problemsOf(t, nil, "--config="+file)
	for _, want := range []string{
		`data (from file FILE:2): "DIR/passwd" is not a directory`,
		`metrics.listen (from file FILE:4): "192.0.2.1:4001" cannot be listened on: `,
		"auth.secret (from file FILE:6): the value has 5 bytes: HS256 needs at least 32",
		"auth.join (from file FILE:7): the value (0) has a * that is not at the end",
		"tls.cert (from file FILE:9) and tls.key (from file FILE:10): tls: private key does not match public key",
		`FILE:13: api.keys[0]: API key "a": hash must be`,
		"FILE:15: api.keys[1].scope is not a known field",
		`FILE:17: instances[0].type "chet" is not one of this server's types`,
		"FILE:21: instances[1].config.window is not a known field",
		"FILE:23: instances[2].limits.max_message is 1099511627776: this server allows at most 1048576",
		"FILE:23: instances[2].limits.max_channels is 101: this server allows at most 100",
		`FILE:24: instances[3].id: instances[0] is "one" already`,
		"FILE:29: instances[4].auth.jwks.urls.0 is not an address like",
		"FILE:30: instances[4].auth.jwks.timeout is 2m: it must be at most 1m",
		"FILE:31: instances[4].auth.jwks.refresh is 1ms: it must be at least 30s",
		"FILE:32: instances[5]: id is needed",
		`FILE:33: instances[6].id: "default" is the instance that`,
		`FILE:34: instances[7].id "websocket" is taken`,
	} {
		if want = strings.NewReplacer("FILE", file, "DIR", dir).Replace(want); !strings.Contains(said, want) {
			t.Errorf("%q is missing in\n%s", want, said)
		}
	}
	if n := strings.Count(said, "\n"); n != 18 {
		t.Errorf("%d problems:\n%s", n, said)
	}
	if strings.Contains(said, "hush") || strings.Contains(said, "short") {
		t.Errorf("a secret is printed:\n%s", said)
	}
	// What cannot be read at all does not hide the rest, and nothing is said that only follows from it.
	writeFile(t, file, "lisen: x\nlimits: {max_message: huge}\nauth: {secret: short, leeway: x}\ndata: "+dir+"/passwd\ninstances:\n- {id: a, type: relay, lables: {}}\n- {id: b, type: relay, limits: {max_message: 2000000}}\n")
	said = problemsOf(t, nil, "--config="+file)
	for _, want := range []string{":1: unknown key", "limits.max_message", "auth.leeway", "data (from file " + file + ":4)", ":6: instances[0].lables is"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is missing in\n%s", want, said)
		}
	}
	if n := strings.Count(said, "\n"); n != 5 {
		t.Errorf("%d problems:\n%s", n, said)
	}
}

func TestCheckTOML(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.toml")
	writeFile(t, file, "listen = '127.0.0.1:4000'\n\n[[instances]]\nid = 'a'\ntype = 'chet'\n\n[[instances]]\nid = 'b'\ntype = 'relay'\n[instances.config]\nwindow = 1\n\n[[api.keys]]\nnam = 'x'\n")
	said := problemsOf(t, nil, "--config="+file)
	for _, want := range []string{":5: instances[0].type", ":11: instances[1].config.window", ":14: api.keys[0].nam"} {
		if !strings.Contains(said, file+want) {
			t.Errorf("%q is missing in\n%s", want, said)
		}
	}
}

// TestCheckPaths: a socket cannot be mounted where the server answers itself.
func TestCheckPaths(t *testing.T) {
	for _, path := range []string{httpapi.Prefix, observer.Path, "/assets", "/examples", "/examples/chat", "/metrics", "/healthz", "/readyz", "/api/instances"} {
		said := problemsOf(t, nil, "--path="+path)
		if !strings.HasPrefix(said, fmt.Sprintf("path: %q (from flag --path) is a path of the server's own, as are /api, /assets", path)) {
			t.Errorf("%s: %s", path, said)
		}
	}
	for _, path := range []string{"/apis", "/live", "/socket/api"} {
		if code := run(t.Context(), []string{"config", "check", "--path=" + path}, nil, new(bytes.Buffer), new(bytes.Buffer)); code != 0 {
			t.Errorf("%s: exit %d", path, code)
		}
	}
}

// TestCheckMachine: what the configuration names must be usable here.
func TestCheckMachine(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "file"), "")
	if err := os.Mkdir(filepath.Join(dir, "emptied"), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "emptied", "instances.db"), "")
	tests := map[string]string{
		"--data=" + dir + "/file":                                        "is not a directory",
		"--data=" + dir + "/file/below":                                  "cannot be ",
		"--data=" + dir + "/emptied":                                     "is empty: restore it from a copy, or remove it",
		"--metrics-listen=127.0.0.1:4711 --listen=127.0.0.1:4711":        "metrics.listen (from flag --metrics-listen) is 127.0.0.1:4711, and listen is 127.0.0.1:4711; it takes a port of its own",
		"--metrics-listen=127.0.0.1:4711 --listen=:4711":                 "metrics.listen (from flag --metrics-listen) is 127.0.0.1:4711, and listen is :4711; it takes a port of its own",
		"--listen=192.0.2.1:0":                                           `listen (from flag --listen): "192.0.2.1:0" cannot be listened on: `,
		"--listen=no-such-host.invalid:0":                                "cannot be listened on: ",
		"--tls-cert=" + dir + "/none.pem --tls-key=" + dir + "/none.pem": `none.pem" cannot be read: no such file or directory`,
		"--auth-public-key-file=" + dir + "/none.pem":                    `none.pem" cannot be read: no such file or directory`,
		"--auth-jwks=https://a.com/#x":                                   "has a fragment",
		"--auth-jwks=https://:443/":                                      "is not an address that begins with https://",
		"--auth-jwks=ldap://hush:hush@a.com/":                            `"ldap://***@a.com/" (from flag --auth-jwks) is not an address`,
	}
	if os.Getuid() != 0 {
		if err := os.Mkdir(filepath.Join(dir, "read-only"), 0o500); err != nil {
			t.Fatal(err)
		}
		tests["--data="+dir+"/read-only"] = "cannot be written: permission denied"
		tests["--data="+dir+"/read-only/below"] = "cannot be written: permission denied"
	}
	for args, want := range tests {
		if said := problemsOf(t, nil, strings.Fields(args)...); !strings.Contains(said, want) || strings.Contains(said, "hush") {
			t.Errorf("%s: %s, want %q", args, said, want)
		}
	}
	// A server that runs with the same configuration, and a directory that is made.
	s := start(t, "serve", "--data="+filepath.Join(dir, "a", "b"))
	var stderr bytes.Buffer
	if code := run(t.Context(), []string{"config", "check", "--listen=" + s.addr, "--data=" + filepath.Join(dir, "a", "b")}, nil, new(bytes.Buffer), &stderr); code != 0 {
		t.Errorf("beside the server: exit %d: %s", code, &stderr)
	}
	if code := run(t.Context(), []string{"config", "check", "--data=" + filepath.Join(dir, "c", "d")}, nil, new(bytes.Buffer), &stderr); code != 0 {
		t.Errorf("a directory to be made: exit %d: %s", code, &stderr)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == "c" || strings.HasPrefix(e.Name(), ".") }) {
		t.Errorf("checking has left %v, %v", entries, err)
	}
}

// TestConfigPrintsNoPassword: an address may have one.
func TestConfigPrintsNoPassword(t *testing.T) {
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), []string{"config", "print", "--auth-jwks=https://ada:hush@a.com/keys?k=hush"}, nil, &stdout, &stderr)
	if code != 0 || !strings.Contains(stdout.String(), "https://***@a.com/keys?(hidden)") || strings.Contains(stdout.String(), "hush") {
		t.Errorf("exit %d: %s%s", code, &stdout, &stderr)
	}
}
