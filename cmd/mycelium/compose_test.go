package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/mycelium-rt/mycelium/internal/config"
)

// composeService is a service of deploy/supabase/compose.yaml.
type composeService struct {
	Image   string
	Build   yaml.Node
	Command []string
	Ports   []string
	Volumes []string
	Restart string

	Environment map[string]string
	DependsOn   yaml.Node `yaml:"depends_on"`
	Healthcheck yaml.Node
}

// readCompose returns the services of deploy/supabase/compose.yaml, with what its variables are.
func readCompose(t *testing.T, dir string, variables map[string]string) map[string]composeService {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`\$\{(\w+):\?\}`).ReplaceAllFunc(text, func(v []byte) []byte {
		value, ok := variables[string(v[2:len(v)-3])]
		if !ok {
			t.Errorf("%s is not in the .env of docs/realtime.md", v)
		}
		return []byte(value)
	})
	var file struct {
		Services map[string]composeService
		Networks yaml.Node
		Volumes  yaml.Node
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		t.Fatal(err)
	}
	return file.Services
}

// TestCompose: the recipe that puts the server beside Supabase's Auth agrees with the server's
// options, and its files with each other.
func TestCompose(t *testing.T) {
	const secret = "a-secret-of-32-bytes-at-the-least"
	dir := filepath.Join("..", "..", "deploy", "supabase")
	services := readCompose(t, dir, map[string]string{"JWT_SECRET": secret, "POSTGRES_PASSWORD": "hidden"})
	server, authServer := services["mycelium"], services["auth"]

	if len(server.Command) == 0 || server.Command[0] != "serve" {
		t.Fatalf("the command is %q", server.Command)
	}
	var environ []string
	for name, value := range server.Environment {
		environ = append(environ, name+"="+value)
	}
	cfg, err := config.Load(server.Command[1:], environ)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range cfg.Warnings {
		t.Errorf("warning: %s", w)
	}
	if cfg.Dialect != config.DialectRealtime {
		t.Errorf("the dialect is %q", cfg.Dialect)
	}
	if signs := authServer.Environment["GOTRUE_JWT_SECRET"]; cfg.Auth.Secret != secret || signs != secret {
		t.Errorf("Auth signs with %q, the server checks with %q", signs, cfg.Auth.Secret)
	}
	if aud := authServer.Environment["GOTRUE_JWT_AUD"]; !slices.Contains(cfg.Auth.Audience, aud) {
		t.Errorf("Auth's tokens are for %q, the server accepts those for %q", aud, cfg.Auth.Audience)
	}

	_, port, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := os.ReadFile(filepath.Join(dir, "Caddyfile"))
	if err != nil {
		t.Fatal(err)
	}
	upstreams := []string{"reverse_proxy mycelium:" + port, "reverse_proxy auth:" + authServer.Environment["GOTRUE_API_PORT"]}
	for _, upstream := range upstreams {
		if !strings.Contains(string(proxy), upstream+"\n") {
			t.Errorf("Caddyfile does not have %q", upstream)
		}
	}
	for name, s := range services {
		if _, version, _ := strings.Cut(s.Image, ":"); version == "" && s.Build.IsZero() {
			t.Errorf("the image of %s, %s, has no version", name, s.Image)
		}
		for _, volume := range s.Volumes {
			if file, _, _ := strings.Cut(volume, ":"); strings.HasPrefix(file, "./") {
				if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
					t.Errorf("a volume of %s: %v", name, err)
				}
			}
		}
	}
}
