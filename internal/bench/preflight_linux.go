package bench

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// spareFiles is how many files a worker may open besides its connections.
const spareFiles = 64

// sparePorts is how many local ports are left to other programs.
const sparePorts = 500

// preflight determines how many connections a process may hold on this machine
// and from which addresses they come. Its error names every limit that is too
// small, and says how to raise it.
func preflight(o *Options, targets []target) (p *plan, warnings []string, err error) {
	var wrong []string
	most, problem := openFiles(o)
	if problem != "" {
		wrong = append(wrong, problem)
	}
	sources, problem := sourceAddresses(o, targets)
	if problem != "" {
		wrong = append(wrong, problem)
	}
	ca, problem := authorities(o)
	if problem != "" {
		wrong = append(wrong, problem)
	}
	if len(wrong) > 0 {
		return nil, nil, errors.New(strings.Join(wrong, "\n"))
	}
	p = newPlan(o, targets, sources, most)
	p.CA = ca
	if problem := ownFiles(len(p.Workers)); problem != "" {
		return nil, nil, errors.New(problem)
	}
	return p, warn(o, p), nil
}

// openFiles returns how many connections a worker may hold.
func openFiles(o *Options) (most int, problem string) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Sprintf("getrlimit: %v", err)
	}
	// Go raises the soft limit to the hard one when a program starts.
	most = int(min(limit.Max, maxConnections)) - spareFiles
	if most < 1 {
		return 0, fmt.Sprintf("a process may open only %d files; raise the limit: ulimit -n 65536", limit.Max)
	}
	if o.Mode == Broadcast && o.Publishers*o.Topics > most {
		return 0, fmt.Sprintf("%d publishers on each of %d topics need %d connections in one process, which may open %d files; use fewer, or raise the limit: ulimit -n %d",
			o.Publishers, o.Topics, o.Publishers*o.Topics, limit.Max, o.Publishers*o.Topics+spareFiles)
	}
	return most, ""
}

// filesOfWorker is how many files this process opens for a worker, at most: an
// eventfd, two pipes, and another one while it starts.
const filesOfWorker = 4

// ownFiles checks that this process may open the files that its workers need.
func ownFiles(workers int) (problem string) {
	var limit unix.Rlimit
	needed := uint64(spareFiles + filesOfWorker*workers)
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil && limit.Max < needed {
		return fmt.Sprintf("starting %d processes for the connections needs %d open files, and the limit is %d; raise it: ulimit -n %d",
			workers, needed, limit.Max, max(needed, 65_536))
	}
	return ""
}

// authorities reads the file of --ca.
func authorities(o *Options) (pem []byte, problem string) {
	if o.CA == "" {
		return nil, ""
	}
	pem, err := os.ReadFile(o.CA)
	if err != nil {
		return nil, fmt.Sprintf("--ca: %v", err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		return nil, fmt.Sprintf("--ca: %s has no certificate in PEM (BEGIN CERTIFICATE)", o.CA)
	}
	return pem, ""
}

// sourceAddresses returns where connections come from: the addresses of --source,
// none if the system's choice has enough ports, or as many addresses of the
// loopback network as are needed.
func sourceAddresses(o *Options, targets []target) (sources []netip.Addr, problem string) {
	for _, text := range o.Sources {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Sprintf("--source: %q is not an IP address; name addresses of this machine, for example 127.0.0.2,127.0.0.3", text)
		}
		sources = append(sources, a.Unmap())
		if problem := checkSource(a.Unmap(), targets); problem != "" {
			return nil, problem
		}
	}
	low, high, err := portRange()
	if err != nil {
		return sources, "" // unknown; connecting fails if ports run out
	}
	ports := high - low + 1 - sparePorts
	all := o.Connections
	if o.Mode == Broadcast {
		all += o.Publishers * o.Topics
	}
	// Each pair of source and target can use every port once.
	needed := addressesFor(all, ports*len(targets))
	if len(sources) == 0 && ports > 0 && allLoopback4(targets) {
		// Linux tries every second port first, one after the other: once half of them are
		// taken, a connect(2) takes milliseconds.
		if quick := addressesFor(all, ports/2*len(targets)); 1 < quick && quick < 250 {
			for k := range quick {
				sources = append(sources, netip.AddrFrom4([4]byte{127, 0, 0, byte(2 + k)}))
			}
			return sources, ""
		}
	}
	if ports > 0 && needed <= max(len(sources), 1) {
		return sources, ""
	}
	return nil, fmt.Sprintf("%d connections need %d source addresses with %d local ports each, but there are %d; name more with --source, "+
		"or widen the range: sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"", all, needed, max(ports, 0), max(len(sources), 1))
}

// addressesFor returns how many addresses connections need, if each can have so many.
func addressesFor(connections, each int) int { return (connections + each - 1) / max(each, 1) }

// checkSource returns why connections cannot come from an address, or "".
func checkSource(source netip.Addr, targets []target) (problem string) {
	for _, t := range targets {
		if source.Is4() != t.Addr.Addr().Is4() {
			return fmt.Sprintf("--source is %s and the server is %s: use IPv4 for both or IPv6 for both", source, t.Addr.Addr())
		}
	}
	c, err := net.ListenPacket("udp", netip.AddrPortFrom(source, 0).String())
	if err != nil {
		return fmt.Sprintf("--source: %s is not an address of this machine; \"ip address\" lists them", source)
	}
	c.Close()
	return ""
}

func allLoopback4(targets []target) bool {
	for _, t := range targets {
		if a := t.Addr.Addr(); !a.Is4() || !a.IsLoopback() {
			return false
		}
	}
	return true
}

func portRange() (low, high int, err error) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return 0, 0, err
	}
	_, err = fmt.Sscan(string(text), &low, &high)
	return low, high, err
}

// warn returns what may go wrong during the run.
func warn(o *Options, p *plan) (warnings []string) {
	pids := o.PIDs
	if len(pids) == 0 {
		pids = serversOf(p.Targets)
	}
	for _, pid := range pids {
		// Each server gets its share of the connections.
		connections := (o.Connections + p.publishers()) / len(pids)
		if files, err := openFilesOf(pid); err == nil && files < connections+spareFiles {
			warnings = append(warnings, fmt.Sprintf("process %d may open %d files, which is too few for %d connections; start it with ulimit -n %d",
				pid, files, connections, connections+1024))
		}
	}
	backlog, err := readNumber("/proc/sys/net/core/somaxconn")
	if flight := p.Connecting * len(p.Workers); err == nil && allLoopback4(p.Targets) && backlog < flight {
		warnings = append(warnings, fmt.Sprintf("up to %d connections are being made at a time, but net.core.somaxconn is %d: some may wait a second for a retry; "+
			"lower --connecting, or run sysctl -w net.core.somaxconn=%d before the server starts", flight, backlog, flight))
	}
	return warnings
}

func readNumber(file string) (n int, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	_, err = fmt.Sscan(string(text), &n)
	return n, err
}
