// Package signatures runs the functions of docs/backends.md that check the signature of a webhook, each in its own language.
package signatures

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/webhook"
)

// language is how a function is run. Its program reads lines of a secret, an id, a timestamp, a signature and a body,
// separated by tabs, and writes true or false for each. A header field that is empty is one that the request lacks.
type language struct {
	fence   string // of its code in the document
	file    string
	before  string // of the function
	after   string
	command []string // to which the file is added
	rare    bool     // not every machine that builds this project has it
}

var languages = map[string]language{
	"Python": {
		fence: "python", file: "check.py", command: []string{"python3"},
		after: `
import sys
for line in sys.stdin:
    secret, id, at, signature, body = line.rstrip("\n").split("\t")
    headers = {"webhook-id": id, "webhook-timestamp": at, "webhook-signature": signature}
    print(str(verify(secret, {name: value for name, value in headers.items() if value}, body.encode())).lower())
`,
	},
	"Node.js": {
		fence: "js", file: "check.mjs", command: []string{"node"},
		after: `
import {readFileSync} from "node:fs"
for (const line of readFileSync(0, "utf8").trimEnd().split("\n")) {
  const [secret, id, at, signature, body] = line.split("\t")
  const headers = Object.entries({"webhook-id": id, "webhook-timestamp": at, "webhook-signature": signature}).filter(([, value]) => value)
  console.log(verify(secret, Object.fromEntries(headers), Buffer.from(body)))
}
`,
	},
	"Go": {
		fence: "go", file: "main.go", command: []string{"go", "run"},
		before: `package main

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		f := strings.Split(lines.Text(), "\t")
		fmt.Println(verify(f[0], map[string]string{"webhook-id": f[1], "webhook-timestamp": f[2], "webhook-signature": f[3]}, []byte(f[4])))
	}
}

`,
	},
	"Ruby": {
		fence: "ruby", file: "check.rb", command: []string{"ruby"}, rare: true,
		after: `
STDIN.each_line(chomp: true) do |line|
  secret, id, at, signature, body = line.split("\t", -1)
  headers = {"webhook-id" => id, "webhook-timestamp" => at, "webhook-signature" => signature}
  puts verify(secret, headers.reject { |_, value| value.empty? }, body)
end
`,
	},
	"PHP": {
		fence: "php", file: "check.php", command: []string{"php"}, rare: true, before: "<?php\n",
		after: `
while (($line = fgets(STDIN)) !== false) {
    [$secret, $id, $at, $signature, $body] = explode("\t", rtrim($line, "\n"));
    $headers = array_filter(['webhook-id' => $id, 'webhook-timestamp' => $at, 'webhook-signature' => $signature]);
    echo json_encode(verify($secret, $headers, $body)), "\n";
}
`,
	},
	"Java": {
		fence: "java", file: "Check.java", command: []string{"java"}, rare: true,
		before: `import static java.nio.charset.StandardCharsets.UTF_8;
import java.io.*;
import java.security.MessageDigest;
import java.util.*;
import java.util.stream.Stream;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

class Check {
`,
		after: `
    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, UTF_8));
        for (String line; (line = in.readLine()) != null; ) {
            String[] f = line.split("\t", -1);
            Map<String, String> headers = new HashMap<>(Map.of("webhook-id", f[1], "webhook-timestamp", f[2], "webhook-signature", f[3]));
            headers.values().removeIf(String::isEmpty);
            System.out.println(verify(f[0], headers, f[4].getBytes(UTF_8)));
        }
    }
}
`,
	},
}

// TestDocumented: the functions accept what the server signs, and refuse what it has not signed or has signed long ago.
func TestDocumented(t *testing.T) {
	guide, err := os.ReadFile(filepath.Join("..", "..", "docs", "backends.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, part, found := strings.Cut(string(guide), "\n## Signatures\n")
	if !found {
		t.Fatal("docs/backends.md has no part about signatures")
	}
	for name, l := range languages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, code, found := strings.Cut(part, "\n```"+l.fence+"\n")
			code, _, ended := strings.Cut(code, "\n```\n")
			if !found || !ended {
				t.Fatalf("no %s in docs/backends.md", l.fence)
			}
			l.check(t, l.before+code+"\n"+l.after)
		})
	}
}

// check runs a program with requests, right ones and wrong ones.
func (l *language) check(t *testing.T, program string) {
	if _, err := exec.LookPath(l.command[0]); err != nil {
		if os.Getenv("MYCELIUM_CLIENTS") == "" && (l.rare || os.Getenv("CI") == "") {
			t.Skipf("%v: make test-clients needs it", err)
		}
		t.Fatal(err)
	}
	if l.rare && os.Getenv("MYCELIUM_CLIENTS") == "" {
		t.Skip("make test-clients runs it")
	}
	file := filepath.Join(t.TempDir(), l.file)
	if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	var input strings.Builder
	all := requests(t)
	for _, r := range all {
		input.WriteString(strings.Join(r.fields[:], "\t") + "\n")
	}
	command := exec.CommandContext(t.Context(), l.command[0], append(l.command[1:], file)...)
	command.Stdin = strings.NewReader(input.String())
	var stderr bytes.Buffer
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	lines := strings.Fields(string(output))
	if len(lines) != len(all) {
		t.Fatalf("%d answers to %d requests:\n%s%s", len(lines), len(all), output, stderr.String())
	}
	for i, r := range all {
		if lines[i] != strconv.FormatBool(r.valid) {
			t.Errorf("%s: %s", r.name, lines[i])
		}
	}
}

// request is a signed request, with the answer that it is to get.
type request struct {
	name   string
	fields [5]string // secret, id, timestamp, signature, body
	valid  bool
}

func requests(t *testing.T) []request {
	t.Helper()
	const body = `{"v":1,"payload":{"body":"grüß dich"}}`
	text, other := webhook.NewSecret(), webhook.NewSecret()
	sign := func(secret string, at time.Time) [5]string {
		key, err := webhook.ParseSecret(secret)
		if err != nil {
			t.Fatal(err)
		}
		h := make(http.Header)
		key.Sign(h, "msg_1", at, []byte(body))
		return [5]string{secret, "msg_1", h.Get(webhook.HeaderTimestamp), h.Get(webhook.HeaderSignature), body}
	}
	now := time.Now()
	right, old, future := sign(text, now), sign(text, now.Add(-10*time.Minute)), sign(text, now.Add(10*time.Minute))
	with := func(i int, value string) [5]string {
		changed := right
		changed[i] = value
		return changed
	}
	return []request{
		{"as sent", right, true},
		{"a secret without its prefix", with(0, strings.TrimPrefix(text, "whsec_")), true},
		{"two signatures", with(3, "v1,AAAA "+right[3]), true},
		{"four minutes old", sign(text, now.Add(-4*time.Minute)), true},
		{"a changed body", with(4, strings.Replace(body, "dich", "mich", 1)), false},
		{"a longer body", with(4, body+" "), false},
		{"an old timestamp", old, false},
		{"a timestamp of the future", future, false},
		{"a new timestamp on an old request", [5]string{text, "msg_1", right[2], old[3], body}, false},
		{"another key", with(0, other), false},
		{"another id", with(1, "msg_2"), false},
		{"not signed", [5]string{text, "", "", "", body}, false},
		{"no signature", with(3, "v1,"), false},
		{"a shorter signature", with(3, right[3][:20]), false},
		{"another scheme", with(3, strings.Replace(right[3], "v1,", "v2,", 1)), false},
	}
}
