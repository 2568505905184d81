package doctor

import (
	"fmt"
	"strings"
)

// memory checks the memory that connections need.
func memory(m *machine, n int64) Check {
	const name = "memory"
	info, err := m.values("proc/meminfo")
	if err != nil {
		return unknown(name, err)
	}
	per := serverBytes + kernelBytes + bufferPages*m.PageSize
	left, limit := m.memoryLeft()
	why := fmt.Sprintf("a connection takes up to %s, including the kernel's part and the pages of a broadcast in flight", size(per))
	if left < info["MemAvailable"] {
		need := mebibytes(limit - left + n*per)
		return bound(name, fmt.Sprintf("%s left of the cgroup's %s", size(left), size(limit)), left/per, n, why,
			Fix{"systemd", fmt.Sprintf("MemoryMax=%dM   # in [Service] of the unit", need)},
			Fix{"docker", fmt.Sprintf("docker run --memory %dm -e GOMEMLIMIT=%dMiB", need, need*4/5)},
			Fix{"kubernetes", fmt.Sprintf("resources.limits.memory: %dMi", need)},
		)
	}
	return bound(name, size(info["MemAvailable"])+" available", info["MemAvailable"]/per, n, why,
		Fix{"shell", fmt.Sprintf("a machine with %s more memory, or several servers", size(n*per-info["MemAvailable"]))})
}

// tcpMemory checks what the queues of all sockets together may take.
func tcpMemory(m *machine, n int64) Check {
	const key = "net.ipv4.tcp_mem"
	pages, err := m.numbers(sysPath(key), 3)
	if err != nil {
		return unknown(key, err)
	}
	need := roundUp(n * bufferPages)
	return bound(key, fmt.Sprintf("pressure at %s, most %s", size(pages[1]*m.PageSize), size(pages[2]*m.PageSize)), pages[1]/bufferPages, n,
		"the data in the queues of all sockets; above it the kernel shrinks windows and drops packets",
		sysctl(key, fmt.Sprintf("%d %d %d", max(pages[0], need*3/4), need, max(pages[2], need*2))))
}

// slowShare is the part of all clients that may stop reading at the same time.
const slowShare = 100

// sendBuffers are what the kernel keeps for a client that does not read, before
// anything waits in the server.
func sendBuffers(m *machine, n int64) Check {
	const key = "net.ipv4.tcp_wmem"
	bytes, err := m.numbers(sysPath(key), 3)
	if err != nil {
		return unknown(key, err)
	}
	pages, err := m.numbers(sysPath("net.ipv4.tcp_mem"), 3)
	if err != nil {
		return unknown("net.ipv4.tcp_mem", err)
	}
	c := Check{Name: key, Status: OK, Value: "at most " + size(bytes[2]),
		Why: fmt.Sprintf("the kernel buffers this much for a client that does not read, besides --limits-outbound-bytes; net.ipv4.tcp_rmem is the same for incoming data, %s",
			m.receiveBuffer())}
	slow := max(1, n/slowShare)
	if room := pages[1] * m.PageSize; slow*bytes[2] > room {
		c.Status = Advice
		c.Why += fmt.Sprintf("; one slow client in %d would take %s of the %s of net.ipv4.tcp_mem", slowShare, size(slow*bytes[2]), size(room))
		c.Why += "; --limits-send-buffer=128KiB bounds it for this server alone, to twice that size"
		most := max(64<<10, room/2/slow&^(64<<10-1)) // in steps of 64 KiB
		c.Fix = netSysctl(key, fmt.Sprintf("%d %d %d", bytes[0], min(bytes[1], most), most))
	}
	return c
}

func (m *machine) receiveBuffer() string {
	bytes, err := m.numbers(sysPath("net.ipv4.tcp_rmem"), 3)
	if err != nil {
		return "and could not be read"
	}
	return "at most " + size(bytes[2])
}

// commit matters where the kernel promises no more memory than it has.
func commit(m *machine, n int64) Check {
	const key = "vm.overcommit_memory"
	mode, err := m.sys(key)
	if err != nil {
		return unknown(key, err)
	}
	if mode != 2 {
		return Check{Name: key, Status: OK, Value: fmt.Sprint(mode), Why: "the kernel lets Go reserve addresses that it does not use"}
	}
	info, err := m.values("proc/meminfo")
	if err != nil {
		return unknown(key, err)
	}
	left := max(0, info["CommitLimit"]-info["Committed_AS"])
	return bound(key, fmt.Sprintf("2, %s left", size(left)), left/serverBytes, n,
		"the kernel promises no more memory than it has, and counts what Go only reserves", sysctl(key, "0"))
}

// swap checks for swap: it delays answers that should be immediate.
func swap(m *machine, _ int64) Check {
	const name = "swap"
	info, err := m.values("proc/meminfo")
	if err != nil {
		return unknown(name, err)
	}
	used := info["SwapTotal"] - info["SwapFree"]
	c := Check{Name: name, Status: OK, Value: fmt.Sprintf("%s of %s used", size(used), size(info["SwapTotal"])),
		Why: "an idle connection's memory is touched by every heartbeat, which is slow once it has been swapped out"}
	if used > info["MemTotal"]/10 {
		c.Status = Advice
		c.Fix = []Fix{sysctl("vm.swappiness", "1"), {"systemd", "MemorySwapMax=0   # in [Service] of the unit"}}
	}
	return c
}

// hugePages may keep memory that Go has given back.
func hugePages(m *machine, _ int64) Check {
	const name = "transparent huge pages"
	text, err := m.text("sys/kernel/mm/transparent_hugepage/enabled")
	if err != nil {
		return unknown(name, err)
	}
	c := Check{Name: name, Status: OK, Value: text, Why: "they matter little here"}
	if strings.Contains(text, "[always]") {
		c.Status = Advice
		c.Why = "with always, the kernel may turn memory that Go gave back after a peak of connections into huge pages again"
		c.Fix = []Fix{{"shell", "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled   # as root"}}
	}
	return c
}
