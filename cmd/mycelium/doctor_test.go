package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/internal/config"
	"github.com/mycelium-rt/mycelium/internal/doctor"
)

// TestDoctor asks about the machine that runs the test: good for one
// connection, and not for a billion.
func TestDoctor(t *testing.T) {
	if _, err := os.Stat("/proc/sys"); err != nil {
		t.Skip("the doctor needs Linux:", err)
	}
	for connections, want := range map[int64]int{1: 0, maxDoctorConnections: 1} {
		flag := fmt.Sprintf("--connections=%d", connections)
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), []string{"doctor", flag, "--json"}, nil, &stdout, &stderr); code != want || stderr.Len() > 0 {
			t.Errorf("%s: exit %d, want %d: %s", flag, code, want, &stderr)
		}
		var r doctor.Report
		if err := json.Unmarshal(stdout.Bytes(), &r); err != nil || r.Connections != connections || r.OK != (want == 0) || len(r.Checks) == 0 {
			t.Errorf("%s: %v, %+v", flag, err, r)
		}
		stdout.Reset()
		code := run(t.Context(), []string{"doctor", flag, "--pid", fmt.Sprint(os.Getpid())}, nil, &stdout, &stderr)
		if code != want || strings.Contains(stdout.String(), "TOO SMALL") != (want == 1) || !strings.Contains(stdout.String(), "open files") {
			t.Errorf("%s: exit %d:\n%s", flag, code, &stdout)
		}
	}
}

func TestDoctorCommandLine(t *testing.T) {
	for args, want := range map[string]string{
		"--conections=5":               "unknown flag: --conections",
		"--connections=0":              "takes a number from 1 to 1000000000",
		"--connections=many":           `"many"`,
		"--pid=-1":                     "takes the id of a running process",
		"100000":                       `unexpected argument "100000"`,
		"--connections=1 --pid=999999": "",
	} {
		if want == "" && (fileExists("/proc/999999") || !fileExists("/proc/sys")) {
			continue
		}
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), append([]string{"doctor"}, strings.Fields(args)...), nil, &stdout, &stderr)
		if code != 2 || stderr.Len() == 0 || stdout.Len() > 0 || !strings.Contains(stderr.String(), want) {
			t.Errorf("doctor %s: exit %d, %q, want 2 and %q", args, code, &stderr, want)
		}
	}
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"doctor", "--help"}, nil, &stdout, &stderr); code != 0 || !strings.Contains(stdout.String(), "--connections number") {
		t.Errorf("--help: exit %d\n%s%s", code, &stdout, &stderr)
	}
}

func fileExists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// TestDoctorHistory: the rules of a file are checked, and those of its instances.
func TestDoctorHistory(t *testing.T) {
	if !fileExists("/proc/sys") {
		t.Skip("the doctor needs Linux")
	}
	file := filepath.Join(t.TempDir(), "mycelium.yaml")
	const config = `history: {memory: 4MiB, rules: [{topics: ["room:*"]}, {topics: [news]}]}
instances:
- {id: talk, type: chat}
- {id: quiet, type: chat, config: {backlog: 0}}
- {id: shop, type: relay, history: [{messages: 100000}]}
`
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"doctor", "--connections=1", "--json", "--config=" + file}, nil, &stdout, &stderr); code != 0 {
		t.Fatalf("exit %d: %s", code, &stderr)
	}
	var r doctor.Report
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range r.History[1:] {
		got = append(got, fmt.Sprint(c.Name, " ", c.Status))
	}
	want := []string{"history.rules[0] advice", "history.rules[1] ok", "history of talk, rule 1 advice", "history of shop, rule 1 advice"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestDoctorDurableElsewhere: where the NATS servers keep the messages of a cluster, the disk of this machine does not
// matter.
func TestDoctorDurableElsewhere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mycelium.yaml")
	writeFile(t, file, "history: {disk: 70368744177664, rules: [{topics: [\"room:*\"], durable: true}]}\ndata: "+t.TempDir()+"\n")
	check := func(args ...string) doctor.Check {
		t.Helper()
		cfg, err := config.Load(append([]string{"--config=" + file}, args...), nil)
		if err != nil {
			t.Fatal(err)
		}
		var r doctor.Report
		examineDurable(cfg, &r)
		if len(r.Checks) != 1 {
			t.Fatalf("%+v", r.Checks)
		}
		return r.Checks[0]
	}
	if c := check("--cluster-name=prod", "--cluster-nats-url=tls://nats:4222"); c.Status != doctor.OK {
		t.Errorf("with the disks of NATS servers: %+v", c)
	}
	if c := check(); fileExists("/proc/sys") && c.Status == doctor.OK { // no disk has 64 TiB
		t.Errorf("with the disk of this machine: %+v", c)
	}
}
