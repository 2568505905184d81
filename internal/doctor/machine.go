package doctor

import (
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// machine reads a Machine.
type machine struct{ Machine }

// text returns a file without the newline at its end. name is below the root.
func (m *machine) text(name string) (string, error) {
	data, err := fs.ReadFile(m.FS, name)
	return strings.TrimSpace(string(data)), err
}

// numbers returns the numbers that a file consists of, at least n.
func (m *machine) numbers(name string, n int) ([]int64, error) {
	text, err := m.text(name)
	if err != nil {
		return nil, err
	}
	var list []int64
	for _, field := range strings.Fields(text) {
		x, err := number(field)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		list = append(list, x)
	}
	if len(list) < n {
		return nil, fmt.Errorf("%s has %d numbers, want %d", name, len(list), n)
	}
	return list, nil
}

// number returns the first number of a file.
func (m *machine) number(name string) (int64, error) {
	list, err := m.numbers(name, 1)
	if err != nil {
		return 0, err
	}
	return list[0], nil
}

// sys returns the kernel parameter of a name such as net.core.somaxconn.
func (m *machine) sys(key string) (int64, error) { return m.number(sysPath(key)) }

func sysPath(key string) string { return "proc/sys/" + strings.ReplaceAll(key, ".", "/") }

// number parses a decimal number. The kernel writes some that an int64 does not
// hold, and words, for what has no limit.
func number(s string) (int64, error) {
	if s == "max" || s == "unlimited" {
		return unlimited, nil
	}
	x, err := strconv.ParseInt(s, 10, 64)
	if err != nil && len(s) >= 19 {
		return unlimited, nil
	}
	return min(x, unlimited), err
}

// unlimited is more than any machine has of anything.
const unlimited int64 = 1 << 60

// values returns the lines of a file such as proc/meminfo, "Name: value unit".
// Values in kB become bytes.
func (m *machine) values(name string) (map[string]int64, error) {
	text, err := m.text(name)
	if err != nil {
		return nil, err
	}
	values := make(map[string]int64)
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		x, err := number(fields[1])
		if err != nil {
			continue
		}
		if len(fields) > 2 && fields[2] == "kB" {
			x <<= 10
		}
		values[strings.TrimSuffix(fields[0], ":")] = x
	}
	return values, nil
}

// fileLimit returns how many files the process may have open. The hard limit
// counts: Go's runtime raises the soft one to it.
func (m *machine) fileLimit() (soft, hard int64, err error) {
	name := path.Join("proc", m.Process, "limits")
	text, err := m.text(name)
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, "Max open files")
		fields := strings.Fields(rest)
		if !ok || len(fields) < 2 {
			continue
		}
		if soft, err = number(fields[0]); err != nil {
			return 0, 0, err
		}
		hard, err = number(fields[1])
		return soft, hard, err
	}
	return 0, 0, fmt.Errorf("%s has no line for open files", name)
}
