//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// report is what one command measured. The document is made from the reports of both tools,
// which are in a folder beside it.
type report struct {
	Tool    string    `json:"tool"`
	Version string    `json:"version"`
	Command string    `json:"command"`
	Commit  string    `json:"commit"`
	Machine string    `json:"machine"`
	Started time.Time `json:"started"`
	Seconds float64   `json:"seconds"`
	Results []*result `json:"results"`
}

func newReport(name string, s *settings) *report {
	return &report{
		Tool: name, Command: fmt.Sprintf("make load-%s USERS=%d SECONDS=%d", name, s.users, s.seconds),
		Commit: commit(), Machine: machine(), Started: time.Now().UTC().Truncate(time.Second),
	}
}

// machine describes the machine.
func machine() string {
	kernel := "Linux"
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		kernel += " " + unix.ByteSliceToString(name.Release[:])
	}
	return fmt.Sprintf("%d cores, %s, %s, %s", runtime.NumCPU(), processor(), kernel, runtime.Version())
}

// commit returns the commit that is checked out, or "unknown".
func commit() string {
	out, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// failure returns an error if a result has problems.
func (m *report) failure() error {
	var all []error
	for _, r := range m.Results {
		if len(r.Problems) > 0 {
			all = append(all, errors.New(r.summary()))
		}
	}
	return errors.Join(all...)
}

// of returns the result of a scenario by a tool or by mycelium bench, or nil.
func (m *report) of(scenario, by string) *result {
	for _, r := range m.Results {
		if r.Scenario == scenario && r.Tool == by {
			return r
		}
	}
	return nil
}

// publish writes the report and its diagrams into the folder of the page, and remakes the
// page's tables.
func (m *report) publish(page string) error {
	dir := strings.TrimSuffix(page, ".md")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, r := range m.Results {
		if r.Tool != m.Tool {
			continue // mycelium bench is in the table only
		}
		if err := os.WriteFile(filepath.Join(dir, r.Tool+"-"+r.Scenario+".svg"), []byte(r.picture()), 0o644); err != nil {
			return err
		}
	}
	text, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, m.Tool+".json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	return writePage(page)
}
