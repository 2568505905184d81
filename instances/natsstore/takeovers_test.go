package natsstore_test

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/mycelium-rt/mycelium/instances/natsstore"
	"github.com/mycelium-rt/mycelium/internal/waittest"
)

var takeovers = flag.Int("takeovers", 0, "how many `takeovers` TestTakeoverProcesses waits for")

// TestTakeoverProcesses: processes own instances over three servers, and are stopped and
// continued, killed, ended and cut off at random moments; servers restart. Each owner saves
// numbers that continue from what it has found. Nothing may be stored for an owner after its
// successor has stored something. In the end, every acknowledged number must be on the path to
// the last state: then no two owners' saves have both counted, and nothing acknowledged was
// lost.
func TestTakeoverProcesses(t *testing.T) {
	if *takeovers == 0 {
		t.Skip("only with -takeovers: make takeovers")
	}
	g := startGroup(t, 4, 40)
	g.watch()
	waittest.For(t, "all instances have an owner", func() bool { return g.log.owned() == len(g.ids) })
	var troubles sync.WaitGroup
	over := make(chan struct{})
	for _, w := range g.workers {
		troubles.Go(func() { g.trouble(w, over) })
	}
	troubles.Go(func() { g.restartServers(over) })
	for begun, told := time.Now(), 0; ; time.Sleep(100 * time.Millisecond) {
		n := g.log.takeovers()
		if n/100 > told {
			told = n / 100
			t.Logf("%d takeovers after %s", n, time.Since(begun).Round(time.Second))
		}
		if n >= *takeovers || time.Since(begun) > time.Duration(*takeovers)*time.Second+2*time.Minute {
			break
		}
	}
	close(over)
	troubles.Wait()
	g.settle()
	g.check()
	if n := g.log.takeovers(); n < *takeovers {
		t.Errorf("only %d takeovers", n)
	}
}

// group is the servers, the workers, and what the workers have reported.
type group struct {
	t       *testing.T
	ids     []string
	options []*server.Options
	servers []*server.Server // owned by restartServers
	workers []*worker
	store   *natsstore.Store
	log     *saves
}

func startGroup(t *testing.T, workers, instances int) *group {
	g := &group{t: t, options: optionsOf(t, 3), log: newSaves()}
	for i := range instances {
		g.ids = append(g.ids, fmt.Sprint("counter-", i))
	}
	for _, o := range g.options {
		g.servers = append(g.servers, startServer(t, o))
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var urls []string
	for _, o := range g.options {
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", o.Port))
	}
	var err error
	if g.store, err = connectStore(ctx, strings.Join(urls, ",")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.store.Close() })
	for i := range workers {
		w := &worker{t: t, name: fmt.Sprint("worker-", i), log: g.log}
		var urls []string
		for _, o := range g.options {
			p := startProxy(t, fmt.Sprintf("127.0.0.1:%d", o.Port))
			w.proxies = append(w.proxies, p)
			urls = append(urls, "nats://"+p.listener.Addr().String())
		}
		w.env = []string{workerName + "=" + w.name, workerServers + "=" + strings.Join(urls, ","), workerIDs + "=" + strings.Join(g.ids, ",")}
		w.start()
		t.Cleanup(w.kill)
		g.workers = append(g.workers, w)
	}
	return g
}

// watch follows what is stored, until the test ends.
func (g *group) watch() {
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() {
		for ctx.Err() == nil { // a watch may end when a server does
			for c, err := range g.store.Watch(ctx, "state.") {
				if err != nil || c.Current {
					continue
				}
				if err := g.log.stored(strings.TrimPrefix(c.Entry.Key, "state."), c.Entry.Value); err != nil {
					g.t.Errorf("%s: %v", c.Entry.Key, err)
				}
			}
		}
	})
	g.t.Cleanup(func() { cancel(); watching.Wait() })
}

// trouble does something to a worker again and again.
func (g *group) trouble(w *worker, over chan struct{}) {
	for {
		select {
		case <-over:
			return
		case <-time.After(upTo(6 * time.Second)):
		}
		switch rand.IntN(4) {
		case 0:
			w.signal(syscall.SIGSTOP)
			time.Sleep(upTo(20 * time.Second))
			w.signal(syscall.SIGCONT)
		case 1:
			w.kill()
			time.Sleep(upTo(15 * time.Second))
			w.start()
		case 2:
			w.end()
			time.Sleep(upTo(3 * time.Second))
			w.start()
		case 3:
			how := rand.IntN(3)
			w.cut(how != toWorker, how != toServer)
			time.Sleep(upTo(20 * time.Second))
			w.cut(false, false)
		}
	}
}

func upTo(d time.Duration) time.Duration { return time.Duration(rand.Int64N(int64(d))) }

// restartServers restarts one server after the other, now and then.
func (g *group) restartServers(over chan struct{}) {
	for i := 0; ; i = (i + 1) % len(g.servers) {
		select {
		case <-over:
			return
		case <-time.After(10*time.Second + upTo(20*time.Second)):
		}
		g.servers[i].Shutdown()
		g.servers[i].WaitForShutdown()
		time.Sleep(upTo(3 * time.Second))
		g.servers[i] = startServer(g.t, g.options[i])
	}
}

// settle waits until each instance has saved again, and ends all workers.
func (g *group) settle() {
	g.t.Helper()
	before := g.log.counts()
	waittest.For(g.t, "every instance is saved again", func() bool {
		after := g.log.counts()
		for _, id := range g.ids {
			if after[id] <= before[id]+1 {
				return false
			}
		}
		return true
	})
	for _, w := range g.workers {
		w.end()
	}
}

// check compares the last states with what was acknowledged.
func (g *group) check() {
	g.t.Helper()
	for _, id := range g.ids {
		e, err := g.store.Get(g.t.Context(), "state."+id)
		var last count
		if err == nil {
			err = json.Unmarshal(e.Value, &last)
		}
		if err != nil {
			g.t.Fatalf("%s: %v", id, err)
		}
		for _, wrong := range g.log.of(id).check(last) {
			g.t.Errorf("%s: %s", id, wrong)
		}
	}
	g.t.Log(g.log)
}

// worker is a process, and its successors with the same name.
type worker struct {
	t       *testing.T
	name    string
	env     []string
	proxies []*proxy
	log     *saves
	process *exec.Cmd
	reading sync.WaitGroup
}

func (w *worker) start() {
	w.process = exec.Command(os.Args[0])
	w.process.Env = append(os.Environ(), w.env...)
	w.process.Stderr = os.Stderr
	out, err := w.process.StdoutPipe()
	if err == nil {
		err = w.process.Start()
	}
	if err != nil {
		w.t.Error(err)
		return
	}
	w.reading.Go(func() { w.read(out) })
}

func (w *worker) read(out io.Reader) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if err := w.log.add(lines.Text()); err != nil {
			w.t.Errorf("%s said %q: %v", w.name, lines.Text(), err)
		}
	}
}

func (w *worker) signal(s syscall.Signal) {
	if err := w.process.Process.Signal(s); err != nil {
		w.t.Errorf("%s: %v: %v", w.name, s, err)
	}
}

// kill ends the process at once, as a power failure would.
func (w *worker) kill() {
	w.process.Process.Kill() // it may have ended
	w.await()
}

// end has it hand its instances over.
func (w *worker) end() {
	w.signal(syscall.SIGTERM)
	timer := time.AfterFunc(time.Minute, func() {
		w.t.Errorf("%s does not end", w.name)
		w.process.Process.Kill()
	})
	defer timer.Stop()
	w.await()
}

func (w *worker) await() {
	w.reading.Wait()
	w.process.Wait() // its exit is in the log
}

// cut cuts the directions between the worker and all servers.
func (w *worker) cut(server, worker bool) {
	for _, p := range w.proxies {
		p.cut(toServer, server)
		p.cut(toWorker, worker)
	}
}
