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

// serversOf finds the processes of this machine that listen where the targets
// are, as far as one may look into them. None for servers elsewhere.
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
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*") // the pattern is right
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
// The table is proc(5)'s: the local address in the second field, the state in the
// fourth, the inode in the tenth.
func listenersIn(table string, port uint16, sockets map[string]bool) {
	const listens = "0A"
	text, err := os.ReadFile(table)
	if err != nil {
		return // without IPv6
	}
	end := ":" + strings.ToUpper(hex.EncodeToString([]byte{byte(port >> 8), byte(port)}))
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 9 && f[3] == listens && strings.HasSuffix(f[1], end) {
			sockets["socket:["+f[9]+"]"] = true
		}
	}
}

// spareOfServer is how many descriptors are left when a server has run out of
// them: it may have given some back since.
const spareOfServer = 4

// whyStuck says why connections that have been made are not answered.
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
			return fmt.Sprintf("the server (process %d) has run out of file descriptors: it may open %d, so that further connections wait; "+
				"start it with ulimit -n %d or more; \"mycelium doctor\" shows what else bounds connections", pid, most, r.o.Connections+1024)
		}
	}
	if looked > 0 {
		return ""
	}
	return "the server takes no more connections: it may have run out of file descriptors, which its log says; " +
		"\"mycelium doctor\" on its machine shows what bounds connections"
}
