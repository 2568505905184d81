package arrows

import (
	"os/exec"
	"strings"
	"testing"
)

// TestNoNATS: a program that joins no cluster does not link NATS, by whatever way.
func TestNoNATS(t *testing.T) {
	deps := func(folders ...string) string {
		t.Helper()
		args := []string{"list", "-deps"}
		for _, folder := range folders {
			args = append(args, Module+"/"+folder)
		}
		out, err := exec.Command("go", args...).Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	for _, pkg := range strings.Fields(deps("channels", "presence", "pubsub", "auth", "instances", "httpapi", "metrics", "cluster", "cluster/presences", "examples/chat")) {
		if strings.HasPrefix(pkg, "github.com/nats-io") {
			t.Errorf("%s is linked", pkg)
		}
	}
	if !strings.Contains(deps("cluster/natscluster"), "github.com/nats-io/nats.go") {
		t.Error("natscluster does not link NATS: this test sees nothing")
	}
}
