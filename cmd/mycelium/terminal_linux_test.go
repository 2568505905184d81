package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal returns both ends of a pseudo-terminal.
func terminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("needs a pseudo-terminal: %v", err)
	}
	t.Cleanup(func() { person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if program, err = os.OpenFile(fmt.Sprint("/dev/pts/", number), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

// Nobody who closes the window of a terminal wants the server to go on with
// nobody who sees it: the SIGHUP that this causes reloads nothing.
func TestTerminalIsClosed(t *testing.T) {
	person, program := terminal(t)
	done := make(chan int, 1)
	environ := []string{"XDG_RUNTIME_DIR=" + t.TempDir()}
	go func() { done <- run(t.Context(), []string{"--listen=127.0.0.1:0"}, environ, io.Discard, program) }()
	lines := bufio.NewReader(person)
	until := func(want string) {
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(line, want) {
				return
			}
		}
	}
	until("listening")
	if err := unix.Kill(os.Getpid(), unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	until("configuration reloaded")
	if err := person.Close(); err != nil {
		t.Fatal(err)
	}
	// This process does not belong to the terminal, so that the kernel sends it nothing.
	if err := unix.Kill(os.Getpid(), unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	select {
	case code := <-done:
		if code != 0 {
			t.Errorf("exit %d", code)
		}
	case <-time.After(patience):
		t.Error("the server goes on without its terminal")
	}
}

// On a terminal there is a link to the observer, with the key where no server,
// proxy or log sees it: behind the #.
func TestLinkOnTerminal(t *testing.T) {
	person, program := terminal(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan int, 1)
	environ := []string{"XDG_RUNTIME_DIR=" + t.TempDir()}
	go func() { done <- run(ctx, []string{"--listen=127.0.0.1:0"}, environ, io.Discard, program) }()
	lines, line, text := bufio.NewReader(person), "", ""
	for found := false; !found; {
		var err error
		if line, err = lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		text, found = strings.CutPrefix(strings.TrimSpace(line), "Observer: ")
	}
	link, err := url.Parse(text)
	if err != nil || link.Path != "/observer" || !strings.HasPrefix(link.Fragment, "key=mk_") || link.RawQuery != "" {
		t.Fatalf("the terminal has %q", line)
	}
	s := &server{addr: link.Host}
	if err := observe(t, s, strings.TrimPrefix(link.Fragment, "key=")).Drop(); err != nil {
		t.Error(err)
	}
	if status, body := get(t, "http://"+s.addr+"/observer"); status != 200 || !strings.Contains(body, "<title>Observer") {
		t.Errorf("the page: %d", status)
	}
	stop()
	if code := <-done; code != 0 {
		t.Errorf("exit %d", code)
	}
}
