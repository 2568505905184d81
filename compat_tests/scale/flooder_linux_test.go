package scale

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// flooderEnv makes the test binary a crowd of flooding clients. Its value is a flooding in
// JSON.
const flooderEnv = "MYCELIUM_SCALE_FLOODER"

// flooding describes what such a crowd does.
type flooding struct {
	Addr    string
	Path    string // of the instance's WebSocket
	Manner  string // a key of floodManners
	Clients int
}

// floodManners has the ways to flood. Each goes on until the process ends.
var floodManners = map[string]func(f *flooder){
	"send":   (*flooder).send,
	"shout":  (*flooder).shout,
	"beat":   (*flooder).beat,
	"listen": (*flooder).listen,
	"deaf":   (*flooder).deaf,
	"storm":  (*flooder).storm,
}

// flooder is one of the clients, on its own goroutine.
type flooder struct {
	flooding
	topic string
	ready func()
}

// flood is the main function of the process. It ends when stdin does.
func flood(values string) int {
	var f flooding
	if err := json.Unmarshal([]byte(values), &f); err != nil {
		fmt.Fprintln(os.Stderr, "flooder:", err)
		return 2
	}
	var begun atomic.Int64
	for i := range f.Clients {
		one := &flooder{flooding: f, topic: plainTopic}
		if f.Manner == "send" {
			one.topic = fmt.Sprint("own:", i)
		}
		one.ready = func() {
			one.ready = func() {}
			if begun.Add(1) == int64(f.Clients) {
				fmt.Println("ready")
			}
		}
		go floodManners[f.Manner](one)
	}
	io.Copy(io.Discard, os.Stdin)
	return 0
}

// join returns a client that has joined. It retries until the server lets it in.
func (f *flooder) join(small bool) *wstest.Client {
	for ; ; time.Sleep(time.Millisecond) {
		if c, err := f.tryJoin(small); err == nil {
			return c
		}
	}
}

func (f *flooder) tryJoin(small bool) (*wstest.Client, error) {
	d := net.Dialer{Timeout: patience}
	if small {
		d.Control = smallReceiveBuffer
	}
	conn, err := d.Dial("tcp", f.Addr)
	if err != nil {
		return nil, err
	}
	c, err := wstest.NewClient(conn, f.Path+"?vsn=2.0.0", nil)
	if err != nil {
		conn.Close()
		return nil, err
	}
	c.Timeout = time.Hour
	if err = c.WriteText(`["j","j","` + f.topic + `","phx_join",{}]`); err == nil {
		_, _, err = c.ReadMessage()
	}
	if err != nil {
		c.Drop()
		return nil, err
	}
	return c, nil
}

// write sends the same message again and again, at a pace or as fast as possible, and reads
// the answers.
func (f *flooder) write(message string, each time.Duration) {
	var block []byte
	for len(block) == 0 || len(block) < 60<<10 && each == 0 {
		block = append(block, frame(opText, []byte(message))...)
	}
	for {
		c := f.join(false)
		f.ready()
		go io.Copy(io.Discard, c.Conn())
		for c.WriteRaw(block) == nil {
			time.Sleep(each)
		}
		c.Drop()
	}
}

// send floods a topic that nobody else has joined.
func (f *flooder) send() { f.write(`["j","m","`+f.topic+`","shout",{"body":"flood"}]`, 0) }

// shout keeps to the rates, and is to all who flood.
func (f *flooder) shout() {
	f.write(`["j","m","`+f.topic+`","shout",{"body":"flood"}]`, 1100*time.Microsecond)
}

func (f *flooder) beat() { f.write(`[null,"h","phoenix","heartbeat",{}]`, 0) }

// listen reads what is broadcast.
func (f *flooder) listen() {
	for {
		c := f.join(false)
		f.ready()
		io.Copy(io.Discard, c.Conn())
		c.Drop()
	}
}

// deaf reads nothing, and reconnects when it has been cut off.
func (f *flooder) deaf() {
	for {
		c := f.join(true)
		f.ready()
		for c.WriteText(`[null,"h","phoenix","heartbeat",{}]`) == nil {
			time.Sleep(50 * time.Millisecond)
		}
		c.Drop()
	}
}

// storm connects, joins and disconnects, over and over.
func (f *flooder) storm() {
	for {
		c := f.join(false)
		f.ready()
		c.Conn().(*net.TCPConn).SetLinger(0) // otherwise ports would run out
		c.Drop()
	}
}

// startFlood starts the process, at a low priority, and waits until it floods. stop ends it.
func startFlood(t *testing.T, processor int, f flooding) (stop func()) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	values, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("nice", "-n", "19", self)
	cmd.Env = append(os.Environ(), flooderEnv+"="+string(values), "GOMAXPROCS=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe() // ends with this process
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := startOn(processor, cmd); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		t.Errorf("the flood did not begin: %v", err)
	}
	return func() {
		stdin.Close()
		cmd.Wait()
	}
}

// startOn starts a process on a processor, numbered from 1; 0 is any. A child inherits the
// processors of the thread that starts it.
func startOn(processor int, cmd *exec.Cmd) error {
	if processor == 0 {
		return cmd.Start()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, one unix.CPUSet
	one.Set(processor - 1)
	if err := errors.Join(unix.SchedGetaffinity(0, &before), unix.SchedSetaffinity(0, &one)); err != nil {
		return err
	}
	return errors.Join(cmd.Start(), unix.SchedSetaffinity(0, &before))
}
