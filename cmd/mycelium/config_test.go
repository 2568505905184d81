package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeFile exchanges a file as a whole: a server may be reading it.
func writeFile(t *testing.T, name, text string) {
	t.Helper()
	beside := name + ".new"
	if err := os.WriteFile(beside, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(beside, name); err != nil {
		t.Fatal(err)
	}
}

func TestConfigCommand(t *testing.T) {
	dir := t.TempDir()
	good, odd, bad := filepath.Join(dir, "good.yaml"), filepath.Join(dir, "odd.yaml"), filepath.Join(dir, "bad.yaml")
	writeFile(t, good, "limits:\n  max_channels: 7\n")
	writeFile(t, odd, "listen: :1\ncheck_origin: off\n")
	writeFile(t, bad, "limits:\n  max_channels: no\nlisen: x\n")
	guests := filepath.Join(dir, "guests.yaml")
	writeFile(t, guests, "instances:\n  - {id: a, type: chet}\n  - {id: b, type: relay, config: {window: 1}}\n  - {id: c, type: relay}\n")
	secret := []string{"MYCELIUM_METRICS_TOKEN=s3cr3t-s3cr3t-s3cr3t"}
	for _, c := range []struct {
		args, environ  []string
		code           int
		stdout, stderr []string // all that is there
	}{
		{args: []string{"check", "--config=" + good}, stdout: []string{"the configuration is valid"}},
		{args: []string{"check", "--config=" + odd}, stdout: []string{"the configuration is valid"}, stderr: []string{"warning: check_origin (from file " + odd + ":2): "}},
		{args: []string{"check", "--strict", "--config=" + odd}, code: 1, stderr: []string{"warning: check_origin"}},
		{args: []string{"check", "--strict", "--config=" + good}, stdout: []string{"the configuration is valid"}},
		{
			args: []string{"check", "--config=" + bad, "--idle-timeout=60"}, environ: []string{"MYCELIUM_LOOPS=x"}, code: 2,
			stderr: []string{bad + ":3: unknown key \"lisen\"; did you mean listen?\n", "(from file " + bad + ":2)", "(from flag --idle-timeout)", "(from environment variable MYCELIUM_LOOPS)"},
		},
		{args: []string{"check", "--tls-cert=" + good, "--tls-key=" + good}, code: 2, stderr: []string{"tls.cert (from flag --tls-cert) and tls.key (from flag --tls-key): "}},
		{
			args: []string{"check", "--config=" + guests}, code: 2,
			stderr: []string{guests + `:2: instances[0].type "chet" is not one of this server's types`, guests + ":3: instances[1].config.window is not a known field"},
		},
		{args: []string{"print", "--config=" + good}, stdout: []string{"\n  max_channels: 7\n", "\n  token: \"\"\n"}},
		{
			args: []string{"print", "--source", "--config=" + good, "--loops=2"}, environ: secret,
			stdout: []string{"  max_channels: 7 # file " + good + ":2\n", "loops: 2 # flag --loops\n", "token: (hidden) # environment variable MYCELIUM_METRICS_TOKEN\n", "listen: :4000 # default\n"},
		},
		{args: []string{"print", "--config=" + bad}, code: 2, stderr: []string{"unknown key"}},
		{args: []string{"check", "--help"}, stdout: []string{"mycelium config check [--strict]"}},
		{args: []string{"--help"}, stdout: []string{"mycelium config print [--source]"}},
		{code: 2, stderr: []string{"mycelium config: missing command; the commands are check, print"}},
		{args: []string{"show"}, code: 2, stderr: []string{`unknown command "show"; the commands are check, print`}},
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), append([]string{"config"}, c.args...), c.environ, &stdout, &stderr)
		if code != c.code || !hasAll(&stdout, c.stdout) || !hasAll(&stderr, c.stderr) || strings.Contains(stdout.String(), "s3cr3t") {
			t.Errorf("mycelium config %q %q: exit %d, want %d\nstdout: %s\nwant %q\nstderr: %s\nwant %q",
				c.args, c.environ, code, c.code, &stdout, c.stdout, &stderr, c.stderr)
		}
	}
}

// hasAll reports whether all parts are in the output, and that there is none
// if there are no parts.
func hasAll(output *bytes.Buffer, parts []string) bool {
	for _, p := range parts {
		if !strings.Contains(output.String(), p) {
			return false
		}
	}
	return len(parts) > 0 || output.Len() == 0
}
