package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/addrtest"
)

// TestClusterDocument runs the commands of docs/cluster.md, on ports of its own: those that
// serve until the end, the others one after the other.
func TestClusterDocument(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"curl", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: install it to test the commands of docs/cluster.md", tool)
		}
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "cluster.md"))
	if err != nil {
		t.Fatal(err)
	}
	ports := []string{}
	for _, port := range []string{"4000", "4001", "4011", "4012", "4013", "6222", "6223", "6231", "6232", "6233"} {
		ports = append(ports, "127.0.0.1:"+port, addrtest.Free(t))
	}
	obey := startShell(t, strings.NewReplacer(ports...))
	commands := 0
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		for _, part := range strings.Split("\n"+block[1], "\n$ ")[1:] {
			command, want, _ := strings.Cut(part, "\n")
			commands++
			obey(command, strings.TrimSpace(want))
		}
	}
	if commands < 13 {
		t.Errorf("docs/cluster.md has %d commands", commands)
	}
}

// startShell runs commands in a directory of their own; what serves runs beside the others, which wait
// until all of it is ready: nodes that wait for each other are started one after the other.
func startShell(t *testing.T, ports *strings.Replacer) func(command, want string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "mycelium")); err != nil {
		t.Fatal(err)
	}
	keys := t.TempDir()
	prepare := func(command string) *exec.Cmd {
		cmd := exec.Command("sh", "-ec", command)
		cmd.Dir, cmd.Env = dir, []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "GORACE=" + os.Getenv("GORACE"), "XDG_RUNTIME_DIR=" + keys}
		return cmd
	}
	starting := map[string]*buffer{}
	return func(command, want string) {
		t.Helper()
		command = ports.Replace(command)
		if strings.HasPrefix(command, "mycelium serve ") {
			log := new(buffer)
			server := prepare("exec " + command)
			server.Stderr = log
			if err := server.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				server.Process.Kill() // it is waited for
				server.Wait()         // it was killed
				if t.Failed() {
					t.Logf("%s\n%s", command, log)
				}
			})
			starting[command] = log
			return
		}
		for command, log := range starting {
			wait(t, "ready: "+command, func() bool { return strings.Contains(log.String(), "joined the cluster") })
			delete(starting, command)
		}
		// What a node knows of another may be a second old, so a question is asked again.
		deadline := time.Now().Add(patience)
		for {
			out, err := prepare(command).CombinedOutput()
			got := strings.TrimSpace(string(out))
			if err == nil && got == want {
				return
			}
			asks := strings.HasPrefix(command, "curl ") || strings.HasPrefix(command, "mycelium instances get ")
			if !asks || time.Now().After(deadline) {
				t.Fatalf("%s: %v\nprints %s\nnot    %s", command, err, got, want)
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
}
