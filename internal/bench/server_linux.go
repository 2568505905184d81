package bench

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// serversOf returns the processes of this machine that listen on the targets' ports,
// as far as permissions let it see them.
func serversOf(targets []target) (pids []int) {
	sockets := map[string]bool{}
	for _, t := range targets {
		if onThisMachine(t.Addr.Addr()) {
			for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
				listenersIn(table, t.Addr.Port(), sockets)
			}
		}
	}
	if len(sockets) == 0 {
		return nil
	}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*") // the pattern is valid
	for _, link := range links {
		if name, err := os.Readlink(link); err == nil && sockets[name] {
			pid, err := strconv.Atoi(strings.Split(link, "/")[2])
			if err == nil && !slices.Contains(pids, pid) {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// listenersIn adds the sockets that listen on a port, by their names in /proc/PID/fd.
// In the table, as proc(5) describes it, the second field is the local address, the
// fourth the state and the tenth the inode.
func listenersIn(table string, port uint16, sockets map[string]bool) {
	const listens = "0A"
	text, err := os.ReadFile(table)
	if err != nil {
		return // no IPv6
	}
	end := ":" + strings.ToUpper(hex.EncodeToString([]byte{byte(port >> 8), byte(port)}))
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 9 && f[3] == listens && strings.HasSuffix(f[1], end) {
			sockets["socket:["+f[9]+"]"] = true
		}
	}
}

// spareOfServer is how many descriptors may be free in a server that has run out of
// them: it may have closed some since.
const spareOfServer = 4

// whyStuck returns why the server does not answer connections, or "".
func (r *run) whyStuck() string {
	pids := r.o.PIDs
	if len(pids) == 0 {
		pids = serversOf(r.plan.Targets)
	}
	looked := 0
	for _, pid := range pids {
		most, limitErr := openFilesOf(pid)
		open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if limitErr != nil || err != nil {
			continue
		}
		if looked++; len(open)+spareOfServer >= most {
			return fmt.Sprintf("the server (process %d) has run out of file descriptors: it may open %d, and further connections wait; "+
				"start it with ulimit -n %d or more; \"mycelium doctor\" shows what else limits connections", pid, most, r.o.Connections+1024)
		}
	}
	if looked > 0 {
		return ""
	}
	return "the server accepts no more connections: it may have run out of file descriptors, which its log would say; " +
		"\"mycelium doctor\" on its machine shows what limits connections"
}
