//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/auth"
)

// fences are the blocks of a language in docs/auth.md.
func fences(t *testing.T, language string) (blocks []string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/auth.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\\n(.*?)^```").FindAllStringSubmatch(string(text), -1) {
		blocks = append(blocks, m[1])
	}
	if len(blocks) == 0 {
		t.Fatalf("docs/auth.md has no block of %s", language)
	}
	return blocks
}

// The commands of the guide do what they say in a shell, in which mycelium is
// this test. A server that they start takes the tokens of the command after it.
func TestAuthGuideCommands(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(bin, "mycelium")); err != nil {
		t.Fatal(err)
	}
	servers := 0
	for _, block := range fences(t, "sh") {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		setting, serving, isServer := strings.Cut(block, "mycelium serve ")
		if isServer {
			servers++
			serveAsWritten(t, setting, serving)
			cancel()
			continue
		}
		shell := exec.CommandContext(ctx, "sh", "-euc", block)
		shell.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		var stderr bytes.Buffer
		shell.Stderr = &stderr
		out, err := shell.Output()
		if err != nil || !strings.Contains(string(out), "eyJ") || !strings.Contains(string(out), `"sub": "ada"`) {
			t.Errorf("%s\n%v: %s%s", block, err, out, &stderr)
		}
		cancel()
	}
	if servers != 2 {
		t.Errorf("the guide starts %d servers", servers)
	}
}

// serveAsWritten starts the server of a block, in this process, and connects.
func serveAsWritten(t *testing.T, setting, flags string) {
	t.Helper()
	variable, found := strings.CutPrefix(strings.TrimSpace(setting), "export ")
	if !found {
		t.Fatalf("not understood: %s", setting)
	}
	var args []string
	for _, word := range strings.Fields(flags) {
		args = append(args, strings.Trim(word, "'"))
	}
	environ := []string{variable}
	s := startWith(t, environ, append([]string{"serve"}, args...)...)
	signed, topic := token(t, environ, "sign", "--sub=ada"), "room:lobby"
	query := "&token=" + signed
	if strings.Contains(flags, "apikey") {
		query, topic = "&apikey="+signed, "realtime:lobby"
	}
	client := dial(t, s, query)
	if reply := tryJoin(t, client, 1, topic); !strings.Contains(reply, `"ok"`) {
		t.Errorf("%s: %s", topic, reply)
	}
	if reply := tryJoin(t, client, 2, "user:bob"); !strings.Contains(reply, "unauthorized") {
		t.Errorf("user:bob: %s", reply)
	}
}

// The configurations of the guide are right, and its token says what it is said
// to say.
func TestAuthGuideConfigurations(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	for _, block := range fences(t, "yaml") {
		writeFile(t, file, block)
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), []string{"config", "check", "--strict", "--config=" + file}, nil, &stdout, &stderr); code != 0 {
			t.Errorf("%s\n%s", block, &stderr)
		}
	}
	var claims auth.Claims
	if err := json.Unmarshal([]byte(fences(t, "json")[0]), &claims); err != nil {
		t.Fatal(err)
	}
	environ := []string{authSecret}
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	got := token(t, environ, "verify", token(t, environ, "sign", "--claims", string(text)))
	for _, want := range []string{`"room:*"`, `"user:ada"`, `"room:1"`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not in %s", want, got)
		}
	}
}

// A reload that changes nothing keeps the verifier, and with it its keys.
func TestVerifiersAreShared(t *testing.T) {
	var v verifiers
	log := zerolog.Nop()
	v.log = &log
	o := auth.Options{Keys: []auth.Key{{Algorithm: "HS256", Secret: strings.Repeat("s", 32)}}}
	first, release1, err1 := v.get("a", o)
	again, release2, err2 := v.get("a", o)
	other, release3, err3 := v.get("b", o)
	if err1 != nil || err2 != nil || err3 != nil || first != again || first == other {
		t.Fatal(err1, err2, err3, first == again, first == other)
	}
	release1()
	release1() // counts once
	release3()
	if third, release4, err := v.get("a", o); err != nil || third != first {
		t.Error("the verifier went while it was held", err)
	} else {
		release4()
	}
	release2()
	if len(v.by) != 0 {
		t.Errorf("%d verifiers are left", len(v.by))
	}
}
