package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestAPIDocument runs the commands of docs/api.md, one after the other,
// against a server, and compares what they print.
func TestAPIDocument(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil && os.Getenv("CI") != "true" {
		t.Skip("needs curl: install it to test the commands of docs/api.md")
	}
	runDocument(t, "api.md", start(t))
}

// shell runs a command as a user of a server would, in which mycelium is this
// test.
func shell(t *testing.T, s *server) func(command string) (output string, err error) {
	t.Helper()
	bin := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(bin, "mycelium")); err != nil {
		t.Fatal(err)
	}
	environ := append([]string{"PATH=" + bin + ":" + os.Getenv("PATH"), "GORACE=" + os.Getenv("GORACE"), "MYCELIUM_SERVER=http://" + s.addr}, s.environ...)
	return func(command string) (string, error) {
		cmd := exec.Command("sh", "-ec", command)
		cmd.Env = environ
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
}

// runDocument runs the lines "$ …" of a guide's sh blocks. What stands below
// one, up to the next, is what it prints; … matches anything.
func runDocument(t *testing.T, name string, s *server) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	commands, obey := 0, shell(t, s)
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		for _, part := range strings.Split("\n"+block[1], "\n$ ")[1:] {
			command, want, _ := strings.Cut(part, "\n")
			commands++
			out, err := obey(strings.ReplaceAll(command, "localhost:4000", s.addr))
			if err != nil {
				t.Errorf("%s: %v\n%s", command, err, out)
				continue
			}
			got := strings.TrimSpace(strings.ReplaceAll(out, s.addr, "localhost:4000"))
			pattern := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(want)), "…", ".*")
			if !regexp.MustCompile("(?s)^" + pattern + "$").MatchString(got) {
				t.Errorf("%s\nprints %s\nnot    %s", command, got, want)
			}
		}
	}
	if commands == 0 {
		t.Errorf("docs/%s has no commands", name)
	}
}
