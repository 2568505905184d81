package doctor

import (
	"path"
	"strings"
)

// groups returns the folders of the process's cgroups for a controller, the
// innermost first: each of them may have a limit. v2 says which version they
// are of. A container mostly sees its own cgroup as the root, whatever
// /proc/self/cgroup calls it.
func (m *machine) groups(controller string) (folders []string, v2 bool) {
	text, err := m.text(path.Join("proc", m.Process, "cgroup"))
	if err != nil {
		return nil, false
	}
	unified := ""
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) < 3 {
			continue
		}
		if parts[1] == "" {
			unified = parts[2]
			continue
		}
		for name := range strings.SplitSeq(parts[1], ",") {
			if name == controller {
				return upwards(path.Join("sys/fs/cgroup", controller), parts[2]), false
			}
		}
	}
	if unified == "" {
		return nil, false
	}
	return upwards("sys/fs/cgroup", unified), true
}

// upwards returns root/group, its parent, and so on, and root.
func upwards(root, group string) []string {
	var folders []string
	for ; group != "/" && group != "." && !strings.HasPrefix(group, "/.."); group = path.Dir(group) {
		folders = append(folders, path.Join(root, group))
	}
	return append(folders, root)
}

// memoryLeft returns what the process's cgroups let it have besides what they
// use now, in bytes, and the limit that says so; unlimited where there is none.
func (m *machine) memoryLeft() (left, limit int64) {
	left, limit = unlimited, unlimited
	folders, v2 := m.groups("memory")
	limitFile, usageFile, inactive := "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
	if v2 {
		limitFile, usageFile, inactive = "memory.max", "memory.current", "inactive_file"
	}
	for _, folder := range folders {
		most, err := m.number(path.Join(folder, limitFile))
		if err != nil || most >= 1<<50 { // version 1 has a number close to 2⁶³ for none
			continue
		}
		used, err := m.number(path.Join(folder, usageFile))
		if err != nil {
			used = 0
		}
		if stat, err := m.values(path.Join(folder, "memory.stat")); err == nil {
			used -= min(used, stat[inactive]) // files that the kernel would give up
		}
		if most-used < left {
			left, limit = max(0, most-used), most
		}
	}
	return left, limit
}

// quota returns how many processors' worth of time the process's cgroups allow;
// 0 where there is no limit.
func (m *machine) quota() (cpus float64) {
	folders, v2 := m.groups("cpu")
	for _, folder := range folders {
		var share, period int64
		if v2 {
			list, err := m.numbers(path.Join(folder, "cpu.max"), 2)
			if err != nil {
				continue
			}
			share, period = list[0], list[1]
		} else {
			share, _ = m.number(path.Join(folder, "cpu.cfs_quota_us"))
			period, _ = m.number(path.Join(folder, "cpu.cfs_period_us"))
		}
		if share <= 0 || share == unlimited || period <= 0 {
			continue
		}
		if allowed := float64(share) / float64(period); cpus == 0 || allowed < cpus {
			cpus = allowed
		}
	}
	return cpus
}
