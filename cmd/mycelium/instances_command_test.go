package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The API from a terminal, against a server with one key and an instance of its
// configuration.
func TestInstances(t *testing.T) {
	var out, stderr bytes.Buffer
	if code := run(t.Context(), []string{"key", "new", "ops", "--scope", "admin"}, nil, &out, &stderr); code != 0 {
		t.Fatalf("exit %d: %s", code, &stderr)
	}
	_, lines, _ := strings.Cut(out.String(), "configuration file:\n\n")
	_, rest, _ := strings.Cut(out.String(), "mk_")
	secret := "mk_" + strings.Fields(rest)[0]
	dir := t.TempDir()
	file := filepath.Join(dir, "mycelium.yaml")
	lines += "instances:\n  - id: lobby\n    type: relay\n    config: {topics: [\"room:*\"]}\n"
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	spec := filepath.Join(dir, "spec.yaml")
	if err := os.WriteFile(spec, []byte("type: relay\nlabels: {team: red}\nlimits: {max_connections: 3}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(dir, "empty.yaml")
	if err := os.WriteFile(empty, []byte("null\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	batch := filepath.Join(dir, "batch.json")
	if err := os.WriteFile(batch, []byte(`[{"topics":["room:1","room:2"],"event":"hi"},{"topics":["room:1"],"event":"phx_close"}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, "serve", "--config="+file)
	environ := []string{"MYCELIUM_SERVER=http://" + s.addr, "MYCELIUM_KEY=" + secret}
	for _, test := range []struct {
		args   string
		code   int
		stdout string
		stderr string
	}{
		{"types", 0, "relay", ""},
		{"list", 0, "lobby", ""},
		{"create a --file " + spec + " --label x:y", 0, `"socket_url": "ws://` + s.addr + `/socket/a"`, ""},
		{"create b --file " + empty, 1, "", "has no spec"},
		{"get a --json", 0, `"labels":{"x":"y"}`, ""},
		{"get a --server " + s.addr + " --json", 0, `"id":"a"`, ""},
		{"list --label x:y --type relay --state running --json", 0, `{"id":"a"`, ""},
		{`patch a {"labels":{"x":null,"z":"1"}} --revision 1`, 0, `"z": "1"`, ""},
		{`patch a {} --revision 1`, 1, "", "revision 2, not 1"},
		{`broadcast a room:1 hi {"n":1}`, 0, "", ""},
		{`broadcast a room:1 phx_close`, 1, "", "/event begins with phx_"},
		{`broadcast a room:1 hi {`, 1, "", "not valid JSON"},
		{"topics a", 0, `"topics": []`, ""},
		{"sockets a", 0, `"sockets": []`, ""},
		{"presence a room:1", 0, `"presence": {}`, ""},
		{"stats a", 0, `"connections": 0`, ""},
		{"disconnect a users_socket:1", 0, "", ""},
		{"disconnect a --user ada --no-reconnect --idempotency-key 1", 0, "", ""},
		{"disconnect a --user ada --idempotency-key 1", 1, "", "Idempotency-Key used twice"},
		{"disconnect a", 1, "", "one of --user, --socket-id and --socket is needed"},
		{"disconnect a users_socket:1 --user ada", 1, "", "one of --user"},
		{"users a", 0, `"users": []`, ""},
		{"sockets a --user ada", 0, `"sockets": []`, ""},
		{"sockets a --user ada --socket-id 1", 1, "", "exclude each other"},
		{`push a room:1 hi {"n":1} --user ada`, 0, "", ""},
		{"push a room:1 presence_diff --user ada", 1, "", "/event begins with presence_"},
		{"push a room:1 hi", 1, "", "one of --user"},
		{"leave a room:1 --user ada", 0, "", ""},
		{"subscribe a room:1 --socket-id users_socket:1", 0, "", ""},
		{"unsubscribe a room:1 --socket x-0-1", 0, "", ""},
		{"broadcasts a", 1, "", "--file is needed"},
		{"broadcasts a --file " + batch + " --json", 0, `{"results":[{"sent":2},{"sent":0,"problem":{`, ""},
		{"signal a hello", 1, "", "take no signals"},
		{"drain a", 0, `"id": "a"`, ""},
		{"delete a", 0, "", ""},
		{"delete lobby", 1, "", "configuration"},
		{"create", 1, "", "/type is missing; the types of this server are chat, collab, game, realtime, relay"},
		{"create --type relly", 1, "", `/type "relly" is not one of this server's types: chat, collab, game, realtime, relay`},
		{"create --type relay --label x", 1, "", "team:red"},
		{"get a b", 2, "", "get: wrong number of arguments; usage: mycelium instances get ID\n"},
		{"patch a", 2, "", "usage: mycelium instances patch ID JSON [--revision N]\n"},
		{"lost", 2, "", `unknown command "lost"; did you mean list?`},
		{"list --server=ftp://localhost:4000", 2, "", "write it like http://localhost:4000"},
		{"list --server=127.0.0.1:1", 1, "", "no answer from http://127.0.0.1:1"},
		{"list --server=http://127.0.0.1:1", 1, "", "\"mycelium serve\" starts a server; --server or MYCELIUM_SERVER names another one.\n"},
		{"list --key=mk_WRONG", 1, "", "does not know this API key"},
		{"--help", 0, "mycelium instances broadcast ID TOPIC EVENT", ""},
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), append([]string{"instances"}, strings.Fields(test.args)...), environ, &stdout, &stderr)
		if code != test.code || !strings.Contains(stdout.String(), test.stdout) || !strings.Contains(stderr.String(), test.stderr) ||
			test.code == 0 && stderr.Len() > 0 || test.code != 0 && stdout.Len() > 0 { // not even the head of a table
			t.Errorf("mycelium instances %s: exit %d\nstdout: %s\nstderr: %s\nwant %d, %q, %q", test.args, code, &stdout, &stderr, test.code, test.stdout, test.stderr)
		}
	}
	if strings.Contains(s.log.String(), secret) {
		t.Error("the key is in the log")
	}
}

func TestKeyCommand(t *testing.T) {
	for _, test := range []struct {
		args   string
		code   int
		stdout string
		stderr string
	}{
		{"new a --scope read --instance chat-*", 0, `instances: ["chat-*"]`, ""},
		{"new a", 2, "", "has no scopes; the scopes are read, publish and admin"},
		{"new a --scope write", 2, "", `"write"`},
		{"a", 2, "", "the commands are new, show"},
		{"--help", 0, "Scopes:", ""},
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), append([]string{"key"}, strings.Fields(test.args)...), nil, &stdout, &stderr)
		if code != test.code || !strings.Contains(stdout.String(), test.stdout) || !strings.Contains(stderr.String(), test.stderr) {
			t.Errorf("mycelium key %s: exit %d\n%s\n%s", test.args, code, &stdout, &stderr)
		}
	}
}

// What is wrong with the lists of the file is said before anything starts.
func TestConfigLists(t *testing.T) {
	for text, want := range map[string]string{
		"api: {keys: [{name: a, scopes: [read]}]}\n":                   "c.yaml:1: api.keys[0]: API key \"a\": hash",
		"api: {keys: [{nam: a}]}\n":                                    `c.yaml:1: api.keys[0].nam is not a known field`,
		"instances: [{type: relay}]\n":                                 "instances[0]: id is needed",
		"instances: [{id: a, type: relay}, {id: a, type: relay}]\n":    "c.yaml:1: instances[1].id: instances[0] is \"a\" already",
		"instances: [{id: a, type: relay, lables: {}}]\n":              `c.yaml:1: instances[0].lables is not a known field`,
		"instances: [{id: default, type: relay}]\n":                    "c.yaml:1: instances[0].id: \"default\" is the instance that",
		"instances: [{id: a, type: relay, limits: {max_channels: x}}]": "instances[0]",
	} {
		file := filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), []string{"config", "check", "--config=" + file}, nil, &stdout, &stderr); code != 2 || !strings.Contains(stderr.String(), want) {
			t.Errorf("%s: exit %d: %s, want %s", text, code, &stderr, want)
		}
	}
}
