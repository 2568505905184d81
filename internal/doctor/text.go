package doctor

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// WriteText writes the report for people.
func (r Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "For %s connections on this machine:\n\n", count(r.Connections))
	small := 0
	for _, c := range r.Checks {
		if c.Status == TooSmall {
			small++
		}
		c.write(&b)
	}
	r.writeSysctls(&b)
	b.WriteByte('\n')
	if small == 0 {
		fmt.Fprintf(&b, "Nothing is too small: good for %s connections.\n", count(r.GoodFor))
	} else {
		fmt.Fprintf(&b, "%d of %d too small: good for %s connections as it is.\n", small, len(r.Checks), count(r.GoodFor))
	}
	if len(r.History) > 0 {
		b.WriteString("\nFor what is recorded:\n\n")
		for _, c := range r.History {
			c.write(&b)
		}
	}
	if len(r.Cluster) > 0 {
		fmt.Fprintf(&b, "\nFor a node of the cluster %s:\n\n", r.ClusterName)
		for _, c := range r.Cluster {
			c.write(&b)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

var words = map[Status]string{Failed: "FAILED", OK: "ok", TooSmall: "TOO SMALL", Advice: "advice", Unknown: "unknown"}

// write writes a line, and why and what to do where there is something to do.
func (c Check) write(b *strings.Builder) {
	fmt.Fprintf(b, "%-9s  %-31s %s", words[c.Status], c.Name, c.Value)
	if c.GoodFor != nil && *c.GoodFor < noBound {
		fmt.Fprintf(b, "; good for %s", count(*c.GoodFor))
	}
	b.WriteByte('\n')
	if c.Status == OK {
		return
	}
	fmt.Fprintf(b, "           %s\n", c.Why)
	for _, fix := range c.Fix {
		fmt.Fprintf(b, "             %-11s %s\n", fix.Where, fix.Do)
	}
}

// writeSysctls gathers all that sysctl is to set in the file that keeps it.
func (r Report) writeSysctls(b *strings.Builder) {
	var lines []string
	for _, c := range r.Checks {
		for _, fix := range c.Fix {
			if setting, ok := strings.CutPrefix(fix.Do, "sysctl -w "); ok {
				key, value, _ := strings.Cut(setting, "=")
				lines = append(lines, key+" = "+strings.Trim(value, `"`))
			}
		}
	}
	if len(lines) == 0 {
		return
	}
	b.WriteString("\nTo keep the sysctl settings across restarts, as root:\n\n  cat > /etc/sysctl.d/90-mycelium.conf <<EOF\n")
	for _, line := range lines {
		fmt.Fprintf(b, "  %s\n", line)
	}
	b.WriteString("  EOF\n  sysctl --system\n")
}

// noBound is more connections than there will be.
const noBound = 1 << 40

// count writes a number with commas.
func count(n int64) string {
	if n >= noBound {
		return "no bound"
	}
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// size writes bytes in the largest unit.
func size(bytes int64) string {
	for _, unit := range []struct {
		name  string
		shift uint
	}{{"GiB", 30}, {"MiB", 20}, {"KiB", 10}} {
		if bytes >= 1<<unit.shift {
			return strconv.FormatFloat(float64(bytes)/float64(int64(1)<<unit.shift), 'f', 1, 64) + " " + unit.name
		}
	}
	return fmt.Sprintf("%d bytes", bytes)
}

// mebibytes are bytes in the unit in which limits are written, rounded up.
func mebibytes(bytes int64) int64 { return roundUp((bytes + 1<<20 - 1) >> 20) }

// roundUp makes a number that is to be set one that can be remembered: two
// digits and zeros from 1,000 on.
func roundUp(n int64) int64 {
	unit := int64(1)
	for n/unit >= 100 && n >= 1000 {
		unit *= 10
	}
	return (n + unit - 1) / unit * unit
}

// quoted is a value for a shell.
func quoted(value string) string {
	if strings.Contains(value, " ") {
		return `"` + value + `"`
	}
	return value
}
