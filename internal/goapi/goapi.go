// Package goapi lists the exported identifiers of the public packages, so that a
// change of the API shows in a review: its test compares them with api/*.txt.
package goapi

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Package is the API of one package.
type Package struct {
	// Path is the package's folder, relative to the root of the module.
	Path string
	// Lines are its exported identifiers with their types, one each, sorted.
	Lines []string
	// Leaks are those of Lines that name a type of an internal package.
	Leaks []string
	// Undocumented are those of Lines without a doc comment, fields and the methods of
	// interfaces not included.
	Undocumented []string
}

// kinds are the first words of Lines.
var kinds = []string{"type", "func", "method", "field", "const", "var"}

// Counts returns how many Lines there are of each of type, func, method, field,
// const and var. Methods of interfaces count as methods.
func (p *Package) Counts() []int {
	counts := make([]int, len(kinds))
	for _, line := range p.Lines {
		kind, _, _ := strings.Cut(line, " ")
		counts[slices.Index(kinds, kind)]++
	}
	return counts
}

// notPublic are folders whose packages nobody imports from outside of the module.
var notPublic = []string{"cmd", "compat_tests", "examples", "internal", "testdata", "node_modules"}

// List returns the public packages of the module at root, by path.
func List(root string) ([]*Package, error) {
	var list []*Package
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		name := d.Name()
		if path != root && (slices.Contains(notPublic, name) || name[0] == '.' || name[0] == '_' || hasModule(path)) {
			return fs.SkipDir
		}
		p, err := read(root, path)
		if p != nil {
			list = append(list, p)
		}
		return err
	})
	return list, err
}

func hasModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

// read returns the API of the package in dir, nil if there is none.
func read(root, dir string) (*Package, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	rel, err := filepath.Rel(root, dir)
	if err != nil {
		return nil, err
	}
	r := &reader{p: &Package{Path: filepath.ToSlash(rel)}, fset: token.NewFileSet()}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(r.fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		r.file(f)
	}
	if len(r.p.Lines) == 0 {
		return nil, nil
	}
	slices.Sort(r.p.Lines)
	// Files for several systems declare the same.
	r.p.Lines = slices.Compact(r.p.Lines)
	return r.p, nil
}

// reader collects the API of one package.
type reader struct {
	p        *Package
	fset     *token.FileSet
	internal map[string]bool // names by which the file imports internal packages
}

func (r *reader) file(f *ast.File) {
	r.internal = make(map[string]bool)
	for _, spec := range f.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		if !strings.Contains(path, "/internal/") {
			continue
		}
		name := path[strings.LastIndexByte(path, '/')+1:]
		if spec.Name != nil {
			name = spec.Name.Name
		}
		r.internal[name] = true
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			r.function(d)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				r.spec(d, spec)
			}
		}
	}
}

func (r *reader) function(d *ast.FuncDecl) {
	if !d.Name.IsExported() {
		return
	}
	kind, receiver := "func", ""
	if d.Recv != nil {
		of := d.Recv.List[0].Type
		if !ast.IsExported(baseName(of)) {
			return
		}
		kind, receiver = "method", "("+r.text(of)+") "
	}
	signature := strings.TrimPrefix(r.text(d.Type), "func")
	documented := d.Doc != nil || d.Name.Name == "Error" // whose meaning is known
	r.add(kind, receiver+d.Name.Name+signature, d.Type, documented)
}

// baseName is the name of a receiver's type.
func baseName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return baseName(e.X)
	case *ast.IndexExpr:
		return baseName(e.X)
	case *ast.IndexListExpr:
		return baseName(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

func (r *reader) spec(d *ast.GenDecl, spec ast.Spec) {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		if spec.Name.IsExported() {
			r.typ(spec, d.Doc != nil || spec.Doc != nil)
		}
	case *ast.ValueSpec:
		documented := d.Doc != nil || spec.Doc != nil || spec.Comment != nil
		for _, name := range spec.Names {
			if !name.IsExported() {
				continue
			}
			line := name.Name
			if spec.Type != nil {
				line += " " + r.text(spec.Type)
			}
			r.add(d.Tok.String(), line, spec.Type, documented)
			for _, v := range spec.Values {
				r.leak(v)
			}
		}
	}
}

func (r *reader) typ(spec *ast.TypeSpec, documented bool) {
	name := spec.Name.Name
	params := ""
	if spec.TypeParams != nil {
		params = r.fields(spec.TypeParams)
	}
	switch t := spec.Type.(type) {
	case *ast.StructType:
		r.add("type", name+params+" struct", nil, documented)
		for _, f := range t.Fields.List {
			r.members("field", name, f)
		}
	case *ast.InterfaceType:
		r.add("type", name+params+" interface", nil, documented)
		for _, f := range t.Methods.List {
			r.members("method", name, f)
		}
	default:
		alias := ""
		if spec.Assign.IsValid() {
			alias = "= "
		}
		r.add("type", name+params+" "+alias+r.text(spec.Type), spec.Type, documented)
	}
}

// members adds the exported fields of a struct, or methods of an interface, that
// stand in one place; an embedded type is one.
func (r *reader) members(kind, of string, f *ast.Field) {
	for _, name := range f.Names {
		if !name.IsExported() {
			continue
		}
		if kind == "method" {
			r.add(kind, of+"."+name.Name+strings.TrimPrefix(r.text(f.Type), "func"), f.Type, true)
		} else {
			r.add(kind, of+"."+name.Name+" "+r.text(f.Type), f.Type, true)
		}
	}
	if len(f.Names) == 0 {
		r.add(kind, of+" embeds "+r.text(f.Type), f.Type, true)
	}
}

// fields returns type parameters as they are declared.
func (r *reader) fields(list *ast.FieldList) string {
	var all []string
	for _, f := range list.List {
		for _, name := range f.Names {
			all = append(all, name.Name+" "+r.text(f.Type))
		}
	}
	return "[" + strings.Join(all, ", ") + "]"
}

func (r *reader) add(kind, text string, node ast.Node, documented bool) {
	line := kind + " " + text
	r.p.Lines = append(r.p.Lines, line)
	if !documented {
		r.p.Undocumented = append(r.p.Undocumented, line)
	}
	r.leak(node)
}

// leak notes the last line if node names something of an internal package.
func (r *reader) leak(node ast.Node) {
	if node == nil || len(r.internal) == 0 {
		return
	}
	ast.Inspect(node, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := s.X.(*ast.Ident); ok && r.internal[x.Name] {
			r.p.Leaks = append(r.p.Leaks, fmt.Sprintf("%s: %s.%s", r.p.Lines[len(r.p.Lines)-1], x.Name, s.Sel.Name))
		}
		return true
	})
}

// text prints a type in one line.
func (r *reader) text(node ast.Node) string {
	var b bytes.Buffer
	if err := printer.Fprint(&b, r.fset, node); err != nil {
		panic(err) // it was parsed
	}
	return strings.Join(strings.Fields(b.String()), " ")
}
