package doctor

import "fmt"

// openFiles is RLIMIT_NOFILE: a connection is an open file.
func openFiles(m *machine, n int64) Check {
	const name = "open files (RLIMIT_NOFILE)"
	soft, hard, err := m.fileLimit()
	if err != nil {
		return unknown(name, err)
	}
	value := count(hard)
	if soft != hard {
		value = fmt.Sprintf("%s, soft %s", count(hard), count(soft))
	}
	need := roundUp(n + spareFiles)
	return bound(name, value, max(0, hard-spareFiles), n,
		"a connection is an open file; the server raises its soft limit to the hard one by itself",
		Fix{"shell", fmt.Sprintf("ulimit -n %d   # as root, in the shell that starts the server", need)},
		Fix{"systemd", fmt.Sprintf("LimitNOFILE=%d   # in [Service] of the unit", need)},
		Fix{"docker", fmt.Sprintf("docker run --ulimit nofile=%d:%d", need, need)},
		Fix{"kubernetes", fmt.Sprintf("LimitNOFILE=%d   # in the unit of the container runtime, on the nodes", need)},
	)
}

// nrOpen is the most that RLIMIT_NOFILE can be.
func nrOpen(m *machine, n int64) Check {
	const key = "fs.nr_open"
	most, err := m.sys(key)
	if err != nil {
		return unknown(key, err)
	}
	return bound(key, count(most), max(0, most-spareFiles), n, "no process's limit on open files can be higher",
		sysctl(key, fmt.Sprint(roundUp(n+spareFiles))))
}

// fileMax is the bound of all processes together.
func fileMax(m *machine, n int64) Check {
	const key = "fs.file-max"
	most, err := m.sys(key)
	if err != nil {
		return unknown(key, err)
	}
	open, err := m.sys("fs.file-nr")
	if err != nil {
		return unknown("fs.file-nr", err)
	}
	return bound(key, fmt.Sprintf("%s, %s of them open", count(most), count(open)), max(0, most-open-spareFiles), n,
		"all processes together can have no more files open",
		sysctl(key, fmt.Sprint(roundUp(n+open+spareFiles))))
}

// watches bounds what one user's epolls watch.
func watches(m *machine, n int64) Check {
	const key = "fs.epoll.max_user_watches"
	most, err := m.sys(key)
	if err != nil {
		return unknown(key, err)
	}
	return bound(key, count(most), max(0, most-spareFiles), n, "epoll watches each connection; the bound is of all processes of one user",
		sysctl(key, fmt.Sprint(roundUp(n+spareFiles))))
}
