package arrows

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// Check returns what breaks the rules among the Go files of root, the folder
// of the module: a line each, with the place and the reason. Files are read
// whatever system they are for; nested modules and what the go command ignores
// are left out.
func Check(root fs.FS, rules []Rule) ([]string, error) {
	var broken []string
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return skipFolder(root, name)
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		found, err := checkFile(root, name, rules)
		broken = append(broken, found...)
		return err
	})
	return broken, err
}

// skipFolder returns fs.SkipDir for folders whose files are not the module's.
func skipFolder(root fs.FS, folder string) error {
	if folder == "." {
		return nil
	}
	base := path.Base(folder)
	if base == "testdata" || base == "vendor" || base == "node_modules" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return fs.SkipDir
	}
	if _, err := fs.Stat(root, path.Join(folder, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

func checkFile(root fs.FS, name string, rules []Rule) ([]string, error) {
	source, err := fs.ReadFile(root, name)
	if err != nil {
		return nil, err
	}
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, source, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}
	var broken []string
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for _, r := range rules {
			if r.covers(name) && r.forbids(imported) {
				broken = append(broken, fmt.Sprintf("%s: import %q breaks the arrow %s: %s",
					files.Position(spec.Path.Pos()), imported, r.Name, r.Why))
			}
		}
	}
	return broken, nil
}

// covers reports whether the rule is for the file.
func (r Rule) covers(file string) bool {
	if !r.TestsToo && strings.HasSuffix(file, "_test.go") {
		return false
	}
	return (len(r.In) == 0 || inAny(file, r.In)) && !inAny(file, r.NotIn)
}

func inAny(file string, folders []string) bool {
	for _, f := range folders {
		if strings.HasPrefix(file, f+"/") {
			return true
		}
	}
	return false
}

// forbids reports whether the files of the rule must not import it.
func (r Rule) forbids(imported string) bool {
	for _, folder := range r.Allow {
		if imported == Module+"/"+folder {
			return false
		}
	}
	for _, folder := range r.In {
		if within(imported, Module+"/"+folder) {
			return false
		}
	}
	for _, denied := range r.Deny {
		if within(imported, denied) {
			return true
		}
	}
	return false
}

// within reports whether a path is the other or below it.
func within(imported, folder string) bool {
	return imported == folder || strings.HasPrefix(imported, folder+"/")
}

func inModule(folders []string) []string {
	paths := make([]string, len(folders))
	for i, f := range folders {
		paths[i] = Module + "/" + f
	}
	return paths
}

// below returns those of folders that are in folder.
func below(folder string, folders []string) []string {
	var found []string
	for _, f := range folders {
		if strings.HasPrefix(f, folder+"/") {
			found = append(found, f)
		}
	}
	return found
}
