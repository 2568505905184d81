package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/fielderr"
	"github.com/mycelium-rt/mycelium/httpapi"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/internal/addrtest"
	"github.com/mycelium-rt/mycelium/internal/waittest"
)

type object = map[string]any

// open starts a run of the program, on a store that outlives it.
func open(t *testing.T, store instances.Store) (*channelstest.Endpoint, *instances.Manager) {
	t.Helper()
	e := channelstest.Start(t, channels.Options{})
	m, err := polls(t.Context(), e.Endpoint, store)
	if err != nil {
		t.Fatal(err)
	}
	return e, m
}

func TestPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(instances.Memory)
		e, m := open(t, store)
		spec := instances.Spec{ID: "lunch", Type: "poll", Config: json.RawMessage(`{"question":"Soup?","choices":["yes","no"],"open":"30s"}`)}
		if _, _, err := m.Create(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
		ada := channelstest.Connect(t, e, "/socket/lunch").Join("poll", object{"user": "ada"})
		ada.Push("vote", object{"choice": "perhaps"}).AssertReply("error", object{"reason": `choice is "perhaps", want one of ["yes" "no"]`})
		ada.Push("vote", object{"choice": "yes"}).AssertReply("ok", object{})
		ada.Push("vote", object{"choice": "no"}).AssertReply("ok", object{})
		ada.AssertBroadcast("result", object{"question": "Soup?", "counts": object{"yes": 0, "no": 1}, "over": false})
		if err := m.Close(t.Context()); err != nil {
			t.Fatal(err)
		}

		e, m = open(t, store)
		bob := channelstest.Connect(t, e, "/socket/lunch").Join("poll", object{"user": "bob"})
		bob.Push("vote", object{"choice": "no"}).AssertReply("ok", object{})
		bob.AssertBroadcast("result", object{"counts": object{"yes": 0, "no": 2}})
		time.Sleep(40 * time.Second)
		bob.AssertBroadcast("result", object{"counts": object{"yes": 0, "no": 2}, "over": true})
		bob.Push("vote", object{"choice": "yes"}).AssertReply("error", object{"reason": "the poll is over"})
		result, err := m.Signal(t.Context(), "lunch", "result", nil)
		if err != nil || string(result) != `{"question":"Soup?","counts":{"no":2,"yes":0},"over":true}` {
			t.Errorf("%s, %v", result, err)
		}
		spec.ID = "dinner"
		if _, _, err := m.Create(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
		result, err = m.Signal(t.Context(), "dinner", "end", nil)
		if err != nil || string(result) != `{"question":"Soup?","counts":{"no":0,"yes":0},"over":true}` {
			t.Errorf("ended: %s, %v", result, err)
		}
		var invalid fielderr.List
		if _, _, err := m.Create(t.Context(), instances.Spec{Type: "poll", Config: json.RawMessage(`{"question":"?","choices":["a","a"]}`)}); !errors.As(err, &invalid) {
			t.Errorf("one choice twice: %v", err)
		}
		if err := m.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// TestRun runs the whole program on a port, with the commands of docs/types.md.
func TestRun(t *testing.T) {
	addr := addrtest.Free(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	secret, key := httpapi.NewKey("test", []httpapi.Scope{httpapi.Admin}, nil)
	go func() { done <- run(ctx, addr, t.TempDir(), key) }()
	waittest.For(t, "it listens", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	runDocument(t, addr, secret)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// runDocument runs the commands of docs/types.md and compares what they print.
func runDocument(t *testing.T, addr, secret string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/types.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := regexp.MustCompile(`(?m)^\$ (curl .*)\n(.*)$`).FindAllStringSubmatch(string(text), -1)
	if len(commands) == 0 {
		t.Error("docs/types.md has no command")
	}
	for _, c := range commands {
		cmd := exec.Command("sh", "-c", strings.ReplaceAll(c[1], "localhost:4000", addr))
		cmd.Env = append(os.Environ(), "MYCELIUM_KEY="+secret)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", c[1], err, out)
		}
		got := strings.TrimSpace(strings.ReplaceAll(string(out), addr, "localhost:4000"))
		if !regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(c[2]), "…", ".*") + "$").MatchString(got) {
			t.Errorf("%s\nprints %s\nnot    %s", c[1], got, c[2])
		}
	}
}
