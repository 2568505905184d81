package doctor

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "write the .golden files anew")

// recorded reads testdata/name.tree: files of a machine, each after a line
// "-- path --".
func recorded(t *testing.T, name string) fstest.MapFS {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".tree"))
	if err != nil {
		t.Fatal(err)
	}
	tree := fstest.MapFS{}
	var file *fstest.MapFile
	for line := range strings.Lines(string(data)) {
		path, isPath := strings.CutPrefix(line, "-- ")
		if isPath {
			file = &fstest.MapFile{Mode: 0o444}
			tree[strings.TrimSuffix(path, " --\n")] = file
			continue
		}
		file.Data = append(file.Data, line...)
	}
	return tree
}

func machineOf(tree fs.FS) Machine {
	return Machine{FS: tree, Process: "self", Threads: 4, PageSize: 4096}
}

// TestMachines compares what is said of whole machines.
func TestMachines(t *testing.T) {
	for _, c := range []struct {
		tree        string
		connections int64
		goodFor     int64
		ok          bool
	}{
		{"server", 10_000, 19_800, true},
		{"server", 100_000, 19_800, false},
		{"container", 10_000, 27_226, true},
		{"container", 100_000, 27_226, false},
		{"old", 5_000, 2_048, false},
		{"tuned", 1_000_000, 1_048_560, true},
	} {
		name := c.tree + "-" + strings.ReplaceAll(count(c.connections), ",", "")
		t.Run(name, func(t *testing.T) {
			r, err := Examine(machineOf(recorded(t, c.tree)), c.connections)
			if err != nil {
				t.Fatal(err)
			}
			if r.OK != c.ok || r.GoodFor != c.goodFor || r.OK != (r.GoodFor >= c.connections) {
				t.Errorf("ok %v, good for %d; want %v and %d", r.OK, r.GoodFor, c.ok, c.goodFor)
			}
			var got strings.Builder
			r.WriteText(&got)
			golden := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != string(want) {
				t.Errorf("said\n%s\nwant\n%s", got.String(), want)
			}
		})
	}
}

// TestBounds changes one file at a time of a machine that is good for a
// million.
func TestBounds(t *testing.T) {
	const n = 1_000_000
	for _, c := range []struct {
		file, data string
		name       string
		status     Status
		goodFor    int64 // -1: bounds none
	}{
		{"proc/self/limits", "Max open files 1000200 1000200 files", "open files (RLIMIT_NOFILE)", OK, n},
		{"proc/self/limits", "Max open files 1024 1000199 files", "open files (RLIMIT_NOFILE)", TooSmall, n - 1},
		{"proc/self/limits", "Max open files unlimited unlimited files", "open files (RLIMIT_NOFILE)", OK, unlimited - spareFiles},
		{"proc/self/limits", "Max processes 5 5 processes", "open files (RLIMIT_NOFILE)", Unknown, -1},
		{"proc/self/limits", "Max open files 50 50 files", "open files (RLIMIT_NOFILE)", TooSmall, 0},
		{"proc/sys/fs/nr_open", "1000199", "fs.nr_open", TooSmall, n - 1},
		{"proc/sys/fs/file-max", "1001523", "fs.file-max", TooSmall, n - 1},
		{"proc/sys/fs/epoll/max_user_watches", "1000200", "fs.epoll.max_user_watches", OK, n},
		{"proc/sys/net/core/somaxconn", "62500", "net.core.somaxconn", OK, n},
		{"proc/sys/net/core/somaxconn", "62499", "net.core.somaxconn", TooSmall, n - stormShare},
		{"proc/sys/net/core/somaxconn", "many", "net.core.somaxconn", Unknown, -1},
		{"proc/sys/net/ipv4/tcp_syncookies", "0", "net.ipv4.tcp_max_syn_backlog", TooSmall, 2048 * stormShare},
		{"proc/sys/net/netfilter/nf_conntrack_max", "1000006", "net.netfilter.nf_conntrack_max", Unknown, -1}, // without a count
		{"proc/sys/net/ipv4/tcp_mem", "1 1999998 9", "net.ipv4.tcp_mem", TooSmall, n - 1},
		{"proc/sys/net/ipv4/tcp_mem", "1 2", "net.ipv4.tcp_mem", Unknown, -1},
		{"proc/sys/net/ipv4/tcp_wmem", "4096 16384 4194304", "net.ipv4.tcp_wmem", Advice, -1},
		{"proc/sys/net/ipv4/ip_local_port_range", "1 2000000", "net.ipv4.ip_local_port_range", OK, -1},
		{"proc/meminfo", "MemAvailable: 16999999 kB", "memory", TooSmall, n - 1},
		{"proc/sys/vm/overcommit_memory", "2", "vm.overcommit_memory", OK, (32768000 - 600000) / 4},
		{"proc/sys/kernel/osrelease", "2.6.32-754.el6", "kernel", TooSmall, 0},
		{"proc/sys/kernel/osrelease", "unheard of", "kernel", Unknown, -1},
		{"proc/sys/kernel/io_uring_disabled", "2", "io_uring", OK, -1},
		{"sys/fs/cgroup/cpu.max", "max 100000", "processors", OK, -1},
		{"sys/fs/cgroup/cpu.max", "50000 100000", "processors", Advice, -1},
		{"sys/fs/cgroup/user.slice/cpu.max", "300000 100000", "processors", Advice, -1},
		{"sys/fs/cgroup/user.slice/memory.max", "17408000000", "memory", OK, n},
		{"sys/fs/cgroup/user.slice/session-1.scope/memory.max", "17407999999", "memory", TooSmall, n - 1},
	} {
		t.Run(c.name+" "+c.data, func(t *testing.T) {
			tree := recorded(t, "tuned")
			tree[c.file] = &fstest.MapFile{Data: []byte(c.data + "\n")}
			r, err := Examine(machineOf(tree), n)
			if err != nil {
				t.Fatal(err)
			}
			for _, got := range r.Checks {
				if got.Name != c.name && got.Name != "net.netfilter.nf_conntrack_count" {
					if got.Status == TooSmall || got.Status == Unknown {
						t.Errorf("%+v too", got)
					}
					continue
				}
				goodFor := int64(-1)
				if got.GoodFor != nil {
					goodFor = *got.GoodFor
				}
				if got.Status != c.status || goodFor != c.goodFor {
					t.Errorf("%s, good for %d; want %s and %d", got.Status, goodFor, c.status, c.goodFor)
				}
				if needs := c.status == TooSmall || c.status == Advice; needs != (len(got.Fix) > 0) {
					t.Errorf("%s with fixes %v", got.Status, got.Fix)
				}
			}
			if r.OK != (c.status != TooSmall) {
				t.Errorf("ok: %v", r.OK)
			}
		})
	}
}

// TestFixesSuffice does what the doctor says to the machine that is too small
// and asks again.
func TestFixesSuffice(t *testing.T) {
	const n = 300_000
	tree := recorded(t, "server")
	first, err := Examine(machineOf(tree), n)
	if err != nil || first.OK {
		t.Fatalf("ok %v, %v", first.OK, err)
	}
	done := 0
	for _, c := range first.Checks {
		for _, fix := range c.Fix {
			if setting, ok := strings.CutPrefix(fix.Do, "sysctl -w "); ok {
				key, value, _ := strings.Cut(setting, "=")
				tree[sysPath(key)] = &fstest.MapFile{Data: []byte(strings.Trim(value, `"`))}
				done++
			}
			if limit, ok := strings.CutPrefix(fix.Do, "ulimit -n "); ok {
				limit, _, _ = strings.Cut(limit, " ")
				tree["proc/self/limits"] = &fstest.MapFile{Data: []byte("Max open files " + limit + " " + limit + " files")}
				done++
			}
		}
	}
	again, err := Examine(machineOf(tree), n)
	if err != nil || !again.OK || done < 3 {
		t.Errorf("after %d changes: %+v, %v", done, again, err)
	}
}

func TestNoMachine(t *testing.T) {
	if _, err := Examine(machineOf(fstest.MapFS{}), 1); !errors.Is(err, ErrNoLinux) {
		t.Error(err)
	}
	m := machineOf(recorded(t, "server"))
	m.Process = "4711"
	if _, err := Examine(m, 1); err == nil || !strings.Contains(err.Error(), "process 4711 does not exist") {
		t.Error(err)
	}
	empty := fstest.MapFS{"proc/sys": {Mode: fs.ModeDir}, "proc/self": {Mode: fs.ModeDir}}
	r, err := Examine(machineOf(empty), 1)
	if err != nil || !r.OK {
		t.Errorf("%+v, %v", r, err)
	}
	for _, c := range r.Checks {
		if c.Status == TooSmall || c.Status == Advice {
			t.Errorf("said of nothing: %+v", c)
		}
	}
}

func TestNumbers(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", unlimited: "no bound"} {
		if got := count(n); got != want {
			t.Errorf("count(%d): %s, want %s", n, got, want)
		}
	}
	for n, want := range map[int64]int64{7: 7, 999: 999, 1000: 1000, 1001: 1100, 100_200: 110_000, 110_000: 110_000, 990_001: 1_000_000} {
		if got := roundUp(n); got != want {
			t.Errorf("roundUp(%d): %d, want %d", n, got, want)
		}
	}
	for n, want := range map[int64]string{5: "5 bytes", 1536: "1.5 KiB", 3 << 20: "3.0 MiB", 5 << 30: "5.0 GiB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d): %s, want %s", n, got, want)
		}
	}
}
