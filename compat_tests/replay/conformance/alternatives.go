package conformance

import (
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

//go:embed better/*.json
var betterFiles embed.FS

// Better returns the scenarios for which DEFECTS.md has a better answer that is scripted
// here. Only that answer passes. Some of the scenarios were never recorded.
func Better() ([]Scenario, error) {
	byName := map[string]*Scenario{}
	for _, d := range defects {
		for _, script := range d.scripts {
			f, err := loadScript(script)
			if err != nil {
				return nil, err
			}
			s := byName[f.Name]
			if s == nil {
				s = &Scenario{Name: f.Name, About: f.About, Transport: f.Transport}
				byName[f.Name] = s
			}
			s.Recordings = append(s.Recordings, Recording{Server: "better: " + script, Steps: f.Steps})
		}
	}
	return sortScenarios(byName), nil
}

// loadScript reads an embedded file. Its name begins with the name of its scenario.
func loadScript(script string) (*scenarioFile, error) {
	data, err := betterFiles.ReadFile("better/" + script + ".json")
	if err != nil {
		return nil, fmt.Errorf("better answer: %w", err)
	}
	f, err := parseScenario(data)
	if err != nil {
		return nil, fmt.Errorf("better answer %s: %w", script, err)
	}
	if scenario, _, _ := strings.Cut(script, "."); f.Name != scenario {
		return nil, fmt.Errorf("better answer %s: it is for %q", script, f.Name)
	}
	return f, nil
}

// alternatives returns the other ways in which a server may pass the scenario. Scripts
// can always be read, which tests check.
func alternatives(s Scenario) []Recording {
	var ways []Recording
	for _, d := range slices.Concat(defects, peculiar) {
		if !slices.Contains(d.scenarios, s.Name) {
			continue
		}
		for _, script := range d.scripts {
			f, err := loadScript(script)
			if err == nil && f.Name == s.Name && !s.hasWay("better: "+script) {
				ways = append(ways, Recording{Server: "better: " + script, Steps: f.Steps})
			}
		}
		if d.rewrite == nil || len(s.Recordings) == 0 {
			continue
		}
		if way, ok := d.rewrite(s.Recordings[0]); ok {
			way.Server = "as good: " + d.name
			ways = append(ways, way)
		}
	}
	return ways
}

func (s Scenario) hasWay(server string) bool {
	return slices.ContainsFunc(s.Recordings, func(r Recording) bool { return r.Server == server })
}

// allowIdleCodes lets an idle timeout close with any suitable code. The time of the close
// must be as recorded.
func allowIdleCodes(r Recording) (Recording, bool) {
	changed := false
	r.Steps = slices.Clone(r.Steps)
	for i := range r.Steps {
		s := &r.Steps[i]
		if s.Closed != nil && s.AfterMs != nil {
			s.Closed = &Closed{Code: Numbers{1000, 1001, 1002}, Reason: s.Closed.Reason}
			changed = true
		}
	}
	return r, changed
}

// allowStatus accepts other statuses in place of from.
func allowStatus(from int, others ...int) func(Recording) (Recording, bool) {
	return func(r Recording) (Recording, bool) {
		changed := false
		r.Steps = slices.Clone(r.Steps)
		for i := range r.Steps {
			for _, a := range []**Answer{&r.Steps[i].Opened, &r.Steps[i].HTTPResponse} {
				if *a != nil && (*a).Status.Has(from) {
					*a = &Answer{Status: append(Numbers{from}, others...), Headers: (*a).Headers}
					changed = true
				}
			}
		}
		return r, changed
	}
}

// refuseOpened requires one of the statuses where the recording has 101. It drops the
// steps after it, for which the client has no connection.
func refuseOpened(r Recording, statuses ...int) (Recording, bool) {
	for i, s := range r.Steps {
		if s.Opened != nil && s.Opened.Status.Has(101) {
			r.Steps = slices.Clone(r.Steps[:i+1])
			r.Steps[i].Opened = &Answer{Status: statuses}
			return r, true
		}
	}
	return r, false
}

func refusePath(r Recording) (Recording, bool)   { return refuseOpened(r, 404, 301, 302, 307, 308) }
func refuseTokens(r Recording) (Recording, bool) { return refuseOpened(r, 400, 403) }

// freeTopics allows messages of different topics in any order.
func freeTopics(r Recording) (Recording, bool) {
	r.anyTopicOrder = true
	return r, true
}

// tokenPrefix begins the subprotocol that carries an auth token
// (assets/js/phoenix/socket.js).
const tokenPrefix = "base64url.bearer.phx."

// takeFirstToken requires the first of the offered tokens where the recording has
// auth_token null.
func takeFirstToken(r Recording) (Recording, bool) {
	token, changed := "", false
	r.Steps = slices.Clone(r.Steps)
	for i := range r.Steps {
		s := &r.Steps[i]
		if s.Open != nil && token == "" {
			token = firstToken(s.Open.Headers)
		}
		if s.Recv == nil || token == "" {
			continue
		}
		quoted, err := json.Marshal(token)
		if err != nil {
			return r, false
		}
		text := strings.Replace(*s.Recv, `"auth_token":null`, `"auth_token":`+string(quoted), 1)
		changed = changed || text != *s.Recv
		s.Recv = &text
	}
	return r, changed
}

func firstToken(headers Headers) string {
	for _, h := range headers {
		if !strings.EqualFold(h.Name, "Sec-WebSocket-Protocol") {
			continue
		}
		for _, protocol := range strings.Split(h.Value, ",") {
			encoded, ok := strings.CutPrefix(strings.TrimSpace(protocol), tokenPrefix)
			if !ok {
				continue
			}
			token, err := base64.RawStdEncoding.DecodeString(encoded)
			if err == nil {
				return string(token)
			}
		}
	}
	return ""
}
