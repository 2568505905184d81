package acme

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/mycelium-rt/mycelium/compat_tests/child"
	"github.com/mycelium-rt/mycelium/internal/addrtest"
	"github.com/mycelium-rt/mycelium/internal/certtest"
	"github.com/mycelium-rt/mycelium/internal/waittest"
)

var pebbleDir string // where its two programs are; static after buildPebble

func buildPebble(t *testing.T) {
	t.Helper()
	pebbleDir = t.TempDir()
	build := exec.Command("go", "build", "-o", pebbleDir+"/", "github.com/letsencrypt/pebble/v2/cmd/pebble", "github.com/letsencrypt/pebble/v2/cmd/pebble-challtestsrv")
	build.Dir = "pebble"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
}

// pebble is an authority, and the DNS server that it asks: all names are at 127.0.0.1.
type pebble struct {
	directory string
	ca        string         // the file with the certificate of the authority's own server
	root      *x509.CertPool // of what it issues
	log       *child.Tail
	stop      func()
}

// options are what an authority does.
type options struct {
	httpAddr, tlsAddr string // whose ports it connects to; "": where nobody listens
	seconds           int    // how long what it issues is valid
}

// blocked is a name that the authority refuses.
const blocked = "blocked.example.org"

// startPebble starts an authority. It runs until the test ends, or until stop.
func startPebble(t *testing.T, o options) *pebble {
	t.Helper()
	own := certtest.New(t)
	server := own.Server()
	cert, key := certtest.Files(t, &server)
	dns, listen, manage := addrtest.Free(t), addrtest.Free(t), addrtest.Free(t)
	p := &pebble{directory: "https://" + listen + "/dir", ca: own.File(), log: new(child.Tail)}
	config := map[string]any{
		"listenAddress": listen, "managementListenAddress": manage, "certificate": cert, "privateKey": key,
		"httpPort": portOf(t, o.httpAddr), "tlsPort": portOf(t, o.tlsAddr), "domainBlocklist": []string{blocked},
		"retryAfter": map[string]int{"authz": 1, "order": 1}, "keyAlgorithm": "ecdsa",
		"profiles": map[string]any{"default": map[string]any{"description": "of a test", "validityPeriod": o.seconds}},
	}
	text, err := json.Marshal(map[string]any{"pebble": config})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "pebble.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	stopDNS, _ := p.run(t, "pebble-challtestsrv", "-dnsserver", dns, "-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "",
		"-management", addrtest.Free(t), "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "")
	stopCA, ended := p.run(t, "pebble", "-config", file, "-dnsserver", dns)
	p.stop = func() { stopCA(); stopDNS() }
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: own.Pool()}}}
	t.Cleanup(client.CloseIdleConnections)
	waittest.For(t, "Pebble's root certificate", func() bool {
		select {
		case <-ended:
			t.Fatal("Pebble has ended")
		default:
		}
		r, err := client.Get("https://" + manage + "/roots/0")
		if err != nil {
			return false
		}
		defer r.Body.Close()
		text, err := io.ReadAll(r.Body)
		p.root = x509.NewCertPool()
		return err == nil && p.root.AppendCertsFromPEM(text)
	})
	return p
}

// run starts a program, and returns a function that ends it, which may be called again. ended
// is closed when it has ended.
func (p *pebble) run(t *testing.T, name string, args ...string) (stop func(), ended <-chan struct{}) {
	t.Helper()
	cmd := exec.Command(filepath.Join(pebbleDir, name), args...)
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=5")
	cmd.Stdout, cmd.Stderr = p.log, p.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		cmd.Wait() // it ends with an error when it is killed
	}()
	stop = func() {
		cmd.Process.Kill() // it keeps nothing, and may have ended
		<-done
	}
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("%s:\n%s", name, p.log)
		}
	})
	return stop, done
}
