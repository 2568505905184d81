package arrows

import (
	"slices"
	"strings"
)

// List returns what each layer may import of this module, for people: a line for
// each, those that may import nothing on the last one.
func List(rules []Rule) string {
	var lines, lowest []string
	for _, r := range rules {
		switch {
		case len(r.In) != 1 || !slices.Contains(r.Deny, Module): // not a layer
		case len(r.Allow) == 0:
			lowest = append(lowest, r.In[0])
		default:
			lines = append(lines, r.In[0]+" ──> "+shorten(r.Allow)+"\n")
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "") + shorten(lowest) + " ──> nothing\n"
}

// shorten writes internal/a and internal/b as internal/{a,b}, after the others.
func shorten(folders []string) string {
	var open, internal []string
	for _, f := range slices.Sorted(slices.Values(folders)) {
		if name, ok := strings.CutPrefix(f, "internal/"); ok {
			internal = append(internal, name)
		} else {
			open = append(open, f)
		}
	}
	switch len(internal) {
	case 0:
	case 1:
		open = append(open, "internal/"+internal[0])
	default:
		open = append(open, "internal/{"+strings.Join(internal, ",")+"}")
	}
	return strings.Join(open, ", ")
}
