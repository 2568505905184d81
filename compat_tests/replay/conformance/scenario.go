package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// Scenario is what clients send to the compatibility application, and how each recorded
// server answered.
type Scenario struct {
	// Name is the file name without ".json".
	Name string
	// About describes the scenario in a line.
	About string
	// Transport is "websocket" or "longpoll".
	Transport string
	// Recordings are tried in order. A server passes with any of them.
	Recordings []Recording
}

// Recording is one server's version of a scenario.
type Recording struct {
	// Server names the recorded server ("bandit", "cowboy"), or the alternative of
	// defects.go that requires these steps.
	Server string
	Steps  []Step
	// anyTopicOrder allows messages of different topics in any order, for scenarios in
	// which joins may run concurrently.
	anyTopicOrder bool
}

// scenarioFile is the JSON object of one file.
type scenarioFile struct {
	Name      string `json:"name"`
	About     string `json:"about"`
	Transport string `json:"transport"`
	Path      string `json:"path"`
	Query     string `json:"query"`
	Steps     []Step `json:"steps"`
}

// Load reads the scenarios of dir, which contains either a folder of files for each
// recorded server, or the files themselves. The result is sorted by name.
func Load(dir string) ([]Scenario, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("load recordings: %w", err)
	}
	byName := map[string]*Scenario{}
	folders := 0
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		folders++
		if err := loadFolder(filepath.Join(dir, e.Name()), e.Name(), byName); err != nil {
			return nil, err
		}
	}
	if folders == 0 {
		if err := loadFolder(dir, filepath.Base(dir), byName); err != nil {
			return nil, err
		}
	}
	if len(byName) == 0 {
		return nil, fmt.Errorf("load recordings: no scenario in %s", dir)
	}
	return sortScenarios(byName), nil
}

func sortScenarios(byName map[string]*Scenario) []Scenario {
	list := make([]Scenario, 0, len(byName))
	for _, s := range byName {
		list = append(list, *s)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list
}

// loadFolder adds the recordings of one server to byName.
func loadFolder(dir, server string, byName map[string]*Scenario) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return fmt.Errorf("load recordings: %w", err)
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("load recordings: %w", err)
		}
		f, err := parseScenario(data)
		if err != nil {
			return fmt.Errorf("load %s: %w", path, err)
		}
		if want := strings.TrimSuffix(filepath.Base(path), ".json"); f.Name != want {
			return fmt.Errorf("load %s: its name is %q", path, f.Name)
		}
		s := byName[f.Name]
		if s == nil {
			s = &Scenario{Name: f.Name, About: f.About, Transport: f.Transport}
			byName[f.Name] = s
		}
		s.Recordings = append(s.Recordings, Recording{Server: server, Steps: f.Steps})
	}
	return nil
}

// parseScenario decodes a file. An unknown key is an error, because an observation that is
// not understood would not be checked.
func parseScenario(data []byte) (*scenarioFile, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var f scenarioFile
	if err := dec.Decode(&f); err != nil {
		return nil, err
	}
	if len(f.Steps) == 0 {
		return nil, errors.New("no steps")
	}
	for i := range f.Steps {
		f.Steps[i].Number = i + 1
		if err := f.Steps[i].check(); err != nil {
			return nil, fmt.Errorf("step %d: %w", i+1, err)
		}
	}
	if !f.Steps[0].isAction() {
		return nil, errors.New("step 1 is not an action")
	}
	return &f, nil
}
