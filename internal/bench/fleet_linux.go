package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"

	"golang.org/x/sys/unix"
)

// workerEnv makes a process a worker; its value is the worker's number.
const workerEnv = "MYCELIUM_BENCH_WORKER"

// The descriptors that a worker is started with, besides the standard ones. It
// reads its plan from standard input, and exits at its end.
const (
	memoryFD = 3 + iota
	eventFD
	publisherEventFD // of the worker that publishes, which others wake
)

// fleet is all workers of a parent.
type fleet struct {
	*memory
	plan     *plan
	eventfds []int
	workers  []*exec.Cmd
	stdins   []io.Closer
	answers  []io.Reader
}

// startFleet starts the workers, which connect at once.
func startFleet(p *plan, stderr io.Writer) (*fleet, error) {
	f := &fleet{plan: p}
	fd, err := unix.MemfdCreate("mycelium-bench", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	shared := os.NewFile(uintptr(fd), "memory")
	defer shared.Close()
	if err := shared.Truncate(int64(memorySize(len(p.Workers), p.Topics))); err != nil {
		return nil, err
	}
	if f.memory, err = mapMemory(fd, len(p.Workers), p.Topics); err != nil {
		return nil, fmt.Errorf("mmap: %w", err)
	}
	f.board.phase.Store(int32(resting))
	for range p.Workers {
		eventfd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		if err != nil {
			f.close()
			return nil, fmt.Errorf("eventfd: %w", err)
		}
		f.eventfds = append(f.eventfds, eventfd)
	}
	for k := range p.Workers {
		if err := f.start(k, shared, stderr); err != nil {
			f.close()
			return nil, fmt.Errorf("starting a worker: %w", err)
		}
	}
	return f, nil
}

func (f *fleet) start(k int, shared *os.File, stderr io.Writer) error {
	text, err := json.Marshal(f.plan)
	if err != nil {
		return err
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{os.Args[0], "bench", "worker"} // for people who list processes
	cmd.Env = append(os.Environ(), workerEnv+"="+strconv.Itoa(k))
	cmd.Stderr = stderr
	own, publishers := duplicate(f.eventfds[k]), duplicate(f.eventfds[len(f.eventfds)-1])
	defer own.Close()
	defer publishers.Close()
	cmd.ExtraFiles = []*os.File{shared, own, publishers}
	// A signal of the terminal must go only to the parent.
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	answer, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	f.workers, f.stdins, f.answers = append(f.workers, cmd), append(f.stdins, stdin), append(f.answers, answer)
	_, err = stdin.Write(append(text, '\n'))
	return err
}

// duplicate returns a file for a copy of a descriptor, which stays the fleet's.
func duplicate(fd int) *os.File {
	copied, _ := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0) // the file says so if there are no more descriptors
	return os.NewFile(uintptr(copied), "eventfd")
}

// set makes all workers enter a phase.
func (f *fleet) set(p phase) {
	f.board.phase.Store(int32(p))
	for _, fd := range f.eventfds {
		wake(fd)
	}
}

// pids returns the process ids of the workers.
func (f *fleet) pids() []int {
	ids := make([]int, len(f.workers))
	for i, w := range f.workers {
		ids[i] = w.Process.Pid
	}
	return ids
}

// quit ends the workers and returns the errors that they counted. The first
// connection is closed when all workers have answered: its end is something that
// the server tells the others.
func (f *fleet) quit() map[string]int {
	f.set(quitting)
	errors := map[string]int{}
	for _, answer := range f.answers {
		var counted map[string]int
		if json.NewDecoder(answer).Decode(&counted) == nil { // the error of Wait says more
			for text, n := range counted {
				errors[text] += n
			}
		}
	}
	for _, stdin := range f.stdins {
		stdin.Close()
	}
	for _, cmd := range f.workers {
		if err := cmd.Wait(); err != nil {
			errors["a worker: "+err.Error()]++
		}
	}
	f.workers = nil
	return errors
}

// close frees what the fleet holds, after quit or when it could not be started.
func (f *fleet) close() {
	for _, stdin := range f.stdins {
		stdin.Close()
	}
	for _, cmd := range f.workers {
		_ = cmd.Process.Kill() // it may have ended by itself
		_ = cmd.Wait()
	}
	for _, fd := range f.eventfds {
		unix.Close(fd)
	}
	f.unmap()
}

// Worker runs a worker of a fleet, if this process was started as one, and then
// does not return. A program that calls [Run] must call it first.
func Worker() {
	number, is := os.LookupEnv(workerEnv)
	if !is {
		return
	}
	if err := runWorker(number); err != nil {
		fmt.Fprintln(os.Stderr, "mycelium bench worker:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func runWorker(number string) error {
	k, err := strconv.Atoi(number)
	if err != nil {
		return fmt.Errorf("%s=%s: this variable is for internal use", workerEnv, number)
	}
	p := new(plan)
	if err := json.NewDecoder(os.Stdin).Decode(p); err != nil {
		return fmt.Errorf("reading the plan: %w", err)
	}
	m, err := mapMemory(memoryFD, len(p.Workers), p.Topics)
	if err != nil {
		return fmt.Errorf("mmap: %w", err)
	}
	debug.SetGCPercent(400)
	runtime.LockOSThread()
	// Make timers of this thread precise; the default slack is 50 µs.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	w, err := newWorker(p, m, k, eventFD, int(os.Stdin.Fd()))
	if err != nil {
		return err
	}
	if err := w.run(eventFD); err != nil {
		return err
	}
	if v, ok := w.job.(*watching); ok {
		v.judge()
	}
	if err := json.NewEncoder(os.Stdout).Encode(w.errors); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin) // until the others have answered
	return err
}
