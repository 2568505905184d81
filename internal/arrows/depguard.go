package arrows

import (
	"fmt"
	"strings"
)

// The section of .golangci.yml that is made from the rules stands between
// these lines.
const (
	sectionBegin = "    # begin: made from internal/arrows by go test ./internal/arrows -rewrite\n"
	sectionEnd   = "    # end: made from internal/arrows\n"
)

// Depguard returns the rules as the depguard section of .golangci.yml.
//
// depguard compares import paths as strings. A denied or allowed path stands
// there with "$" (itself) and with a slash at its end (what is below it), so
// that "wire" is not "wireless". In mode "lax" the longer of a denied and an
// allowed path wins.
func Depguard(rules []Rule) string {
	var b strings.Builder
	b.WriteString("    depguard:\n      rules:\n")
	for _, r := range rules {
		fmt.Fprintf(&b, "        %s:\n          list-mode: lax\n", r.Name)
		writeList(&b, "files", r.files())
		writeList(&b, "allow", r.allowed())
		b.WriteString("          deny:\n")
		for _, denied := range r.Deny {
			for _, pkg := range []string{denied + "$", denied + "/"} {
				fmt.Fprintf(&b, "            - pkg: %q\n              desc: %q\n", pkg, r.Why)
			}
		}
	}
	return b.String()
}

func (r Rule) files() []string {
	var globs []string
	for _, folder := range r.In {
		globs = append(globs, "${config-path}/"+folder+"/**")
	}
	for _, folder := range r.NotIn {
		globs = append(globs, "!${config-path}/"+folder+"/**")
	}
	if !r.TestsToo {
		globs = append(globs, "!$test")
	}
	return globs
}

func (r Rule) allowed() []string {
	var paths []string
	for _, folder := range r.In {
		paths = append(paths, Module+"/"+folder+"$", Module+"/"+folder+"/")
	}
	for _, folder := range r.Allow {
		paths = append(paths, Module+"/"+folder+"$")
	}
	return paths
}

func writeList(b *strings.Builder, name string, values []string) {
	if len(values) == 0 {
		return
	}
	fmt.Fprintf(b, "          %s:\n", name)
	for _, v := range values {
		fmt.Fprintf(b, "            - %q\n", v)
	}
}
