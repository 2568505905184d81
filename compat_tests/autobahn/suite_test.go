package autobahn

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	// pythonEnv names the interpreter if it is not python2.7 in PATH.
	pythonEnv = "AUTOBAHN_PYTHON"
	// requirements pins the suite and its dependencies.
	requirements = "requirements.txt"
	// installTimeout bounds the downloads, and fuzzTimeout a run of the client. The longest
	// run takes a quarter of an hour, with four at once on two busy cores.
	installTimeout = 10 * time.Minute
	fuzzTimeout    = 40 * time.Minute
)

// python is a Python 2.7 with pip.
type python struct {
	command string
	version string
}

// findPython skips the test, with the reason, if there is no Python 2.7. It fails if an
// interpreter was named and does not exist.
func findPython(t *testing.T) python {
	t.Helper()
	command, named := os.Getenv(pythonEnv), true
	if command == "" {
		command, named = "python2.7", false
	}
	// A python2.7 in PATH may be a stub without that Python, so run it.
	out, err := exec.Command(command, "-c", "import sys, pip; sys.stdout.write('%d.%d.%d' % sys.version_info[:3])").CombinedOutput()
	version := string(out)
	if err == nil && strings.HasPrefix(version, "2.7.") {
		return python{command, version}
	}
	why := fmt.Sprintf("%s is not a Python 2.7 with pip, which Autobahn's suite needs: %v %s", command, err, bytes.TrimSpace(out))
	if named {
		t.Fatal(why)
	}
	t.Skipf("%s\n(%s may name another)", why, pythonEnv)
	return python{}
}

// suite is an installed autobahntestsuite.
type suite struct {
	python python
	site   string // the folder of its packages
}

// installSuite installs the suite with pip into a folder of its own, once for each version
// of Python and of the requirements.
func installSuite(t *testing.T, p python) suite {
	t.Helper()
	pins, err := os.ReadFile(requirements)
	if err != nil {
		t.Fatal(err)
	}
	key := sha256.Sum256(append(pins, p.version...))
	site, err := filepath.Abs(filepath.Join(".python", fmt.Sprintf("%x", key[:8])))
	if err != nil {
		t.Fatal(err)
	}
	s := suite{p, site}
	if _, err := os.Stat(site); err == nil {
		return s
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), installTimeout)
	defer cancel()
	unfinished := fmt.Sprintf("%s.%d", site, os.Getpid())
	defer os.RemoveAll(unfinished)
	out, err := exec.CommandContext(ctx, p.command, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
		"--no-deps", "--target", unfinished, "--requirement", requirements).CombinedOutput()
	if err != nil {
		t.Fatalf("pip install: %v\n%s", err, out)
	}
	if err := os.Rename(unfinished, site); err != nil {
		t.Fatal(err)
	}
	t.Logf("installed the suite in %v", time.Since(began).Round(time.Second))
	return s
}

// version returns the version of autobahntestsuite.
func (s suite) version() string {
	pins, _ := os.ReadFile(requirements) // installSuite has read it
	return pinned(pins, "autobahntestsuite")
}

// pinned returns the version of a package in a file of requirements, or "".
func pinned(pins []byte, name string) string {
	for line := range strings.Lines(string(pins)) {
		if version, found := strings.CutPrefix(strings.TrimSpace(line), name+"=="); found {
			return version
		}
	}
	return ""
}

// startWstest starts the suite's wstest. Its folder becomes a site folder, because some of
// its packages have .pth files, which Python reads only in site folders.
const startWstest = `import site, sys
site.addsitedir(sys.argv.pop(1))
from autobahntestsuite.wstest import run
run()`

// fuzz runs the plan against an address and returns the results by case. It leaves the
// client's report, with pages for people, and a log in reports.
func (s suite) fuzz(t *testing.T, p plan, addr string) map[string]result {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("reports", p.name))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	const agent = "mycelium"
	specification, err := json.Marshal(map[string]any{
		"outdir":              dir,
		"servers":             []any{map[string]any{"agent": agent, "url": schemes[p.server] + "://" + addr}},
		"cases":               p.cases,
		"exclude-cases":       []any{},
		"exclude-agent-cases": map[string]any{},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "fuzzingclient.json")
	if err := os.WriteFile(file, specification, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.wstest(t.Context(), filepath.Join(dir, "wstest.log"), "--mode", "fuzzingclient", "--spec", file); err != nil {
		t.Fatal(err)
	}
	index, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var byAgent map[string]map[string]result
	if err := json.Unmarshal(index, &byAgent); err != nil {
		t.Fatal(err)
	}
	return byAgent[agent]
}

// wstest runs the suite's program. The error has the end of its log.
func (s suite) wstest(ctx context.Context, logFile string, args ...string) error {
	log, err := os.Create(logFile)
	if err != nil {
		return err
	}
	defer log.Close()
	ctx, cancel := context.WithTimeoutCause(ctx, fuzzTimeout, fmt.Errorf("not done in %v", fuzzTimeout))
	defer cancel()
	cmd := exec.CommandContext(ctx, s.python.command, slices.Concat([]string{"-u", "-c", startWstest, s.site}, args)...)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+s.site, "PYTHONNOUSERSITE=1")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		out, _ := os.ReadFile(logFile)
		return fmt.Errorf("wstest: %w\n%s", errors.Join(err, context.Cause(ctx)), lastLines(out, 20))
	}
	return nil
}

func lastLines(out []byte, n int) []byte {
	lines := slices.Collect(bytes.Lines(out))
	return bytes.Join(lines[max(0, len(lines)-n):], nil)
}
