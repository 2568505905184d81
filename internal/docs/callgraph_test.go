package docs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// module is the path that all packages of the project begin with.
const module = "github.com/mycelium-rt/mycelium/"

// callGraph is who calls whom in the packages of the project. Functions are
// called as the documents call them: "channels.Socket.handleMessage". What a
// function literal calls is called by the function around it, when that comes
// to the literal. A method of an interface stands for each implementation of
// it in the project. A function that passes a value as an interface calls
// that interface's methods of the value: that is how tasks are posted.
type callGraph struct {
	calls    map[string][]call // in the order in which the function comes to them
	methods  []*types.Named    // with the types that have methods, for interfaces
	packages map[string]*types.Package
	exported map[string]string // files with export data, by import path
	gc       types.Importer
	files    *token.FileSet
}

// call is one call of a function: at grows in the order of a function's body,
// deferred calls come last.
type call struct {
	function string
	at       int
}

// listed is what `go list` says of a package.
type listed struct {
	ImportPath, Dir, Export string
	GoFiles                 []string
}

// loadCalls returns the call graph of packages, named below the root, and of
// those of the project that they import.
func loadCalls(names ...string) (*callGraph, error) {
	args := []string{"list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles"}
	for _, name := range names {
		args = append(args, "./"+name)
	}
	list := exec.Command("go", args...)
	list.Dir, list.Stderr = root, os.Stderr
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	g := newCallGraph()
	var own []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		g.exported[p.ImportPath] = p.Export
		if strings.HasPrefix(p.ImportPath, module) {
			own = append(own, p) // dependencies come first
		}
	}
	sources := make([]*checked, len(own))
	for i, p := range own {
		var files []*ast.File
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(g.files, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				return nil, err
			}
			files = append(files, file)
		}
		if sources[i], err = g.check(p.ImportPath, files); err != nil {
			return nil, err
		}
	}
	for _, s := range sources { // when all implementations of interfaces are known
		g.addCalls(s)
	}
	return g, nil
}

func newCallGraph() *callGraph {
	g := &callGraph{
		calls: make(map[string][]call), packages: make(map[string]*types.Package),
		exported: make(map[string]string), files: token.NewFileSet(),
	}
	g.gc = importer.ForCompiler(g.files, "gc", func(path string) (io.ReadCloser, error) { return os.Open(g.exported[path]) })
	return g
}

// Import is for the type checker: packages of the project are checked from
// their source, so that their objects are the same everywhere.
func (g *callGraph) Import(path string) (*types.Package, error) {
	if p := g.packages[path]; p != nil {
		return p, nil
	}
	return g.gc.Import(path)
}

// checked is a package whose types are known.
type checked struct {
	files []*ast.File
	info  *types.Info
}

func (g *callGraph) check(path string, files []*ast.File) (*checked, error) {
	info := &types.Info{Uses: make(map[*ast.Ident]types.Object), Defs: make(map[*ast.Ident]types.Object), Types: make(map[ast.Expr]types.TypeAndValue)}
	p, err := (&types.Config{Importer: g}).Check(path, g.files, files, info)
	if err != nil {
		return nil, err
	}
	g.packages[path] = p
	for _, name := range p.Scope().Names() {
		if t, ok := p.Scope().Lookup(name).(*types.TypeName); ok && !t.IsAlias() {
			if named := t.Type().(*types.Named); !types.IsInterface(named) && named.TypeParams() == nil {
				g.methods = append(g.methods, named)
			}
		}
	}
	return &checked{files, info}, nil
}

func (g *callGraph) addCalls(c *checked) {
	for _, file := range c.files {
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			v := &visitor{graph: g, info: c.info, end: int(f.End())}
			ast.Walk(v, f.Body)
			name := functionName(c.info.Defs[f.Name].(*types.Func))
			calls := slices.Concat(g.calls[name], v.calls)
			slices.SortStableFunc(calls, func(a, b call) int { return a.at - b.at })
			g.calls[name] = calls
		}
	}
}

// visitor collects the calls of one function.
type visitor struct {
	graph *callGraph
	info  *types.Info
	end   int // of the function
	calls []call
}

func (v *visitor) Visit(n ast.Node) ast.Visitor {
	switch n := n.(type) {
	case *ast.DeferStmt: // the last one is called first
		later := &visitor{graph: v.graph, info: v.info, end: v.end}
		ast.Walk(later, n.Call)
		for _, c := range later.calls {
			v.add(c.function, 2*v.end-int(n.Pos()))
		}
		return nil
	case *ast.Ident:
		if f, ok := v.info.Uses[n].(*types.Func); ok {
			v.addFunc(f, int(n.Pos()))
		}
	case *ast.CallExpr:
		v.addPassed(n)
	}
	return v
}

func (v *visitor) add(function string, at int) {
	v.calls = append(v.calls, call{function, at})
}

// addFunc adds a function that is called, or a value that will be.
func (v *visitor) addFunc(f *types.Func, at int) {
	f = f.Origin()
	recv := f.Signature().Recv()
	if recv == nil || !types.IsInterface(recv.Type()) {
		v.add(functionName(f), at)
		return
	}
	iface, ok := recv.Type().Underlying().(*types.Interface)
	if !ok {
		return
	}
	for _, named := range v.graph.methods {
		if types.Implements(types.NewPointer(named), iface) {
			v.addMethod(named, f, at)
		}
	}
}

// addMethod adds what is called when f, an interface's method, is called of a named type.
func (v *visitor) addMethod(named *types.Named, f *types.Func, at int) {
	found, _, _ := types.LookupFieldOrMethod(types.NewPointer(named), false, f.Pkg(), f.Name())
	if m, ok := found.(*types.Func); ok {
		v.add(functionName(m.Origin()), at)
	}
}

// addPassed adds the methods that a call may make use of because it is given
// values of the project's types as interfaces.
func (v *visitor) addPassed(n *ast.CallExpr) {
	signature, ok := v.info.Types[n.Fun].Type.(*types.Signature)
	if !ok {
		return
	}
	for i, arg := range n.Args {
		if i >= signature.Params().Len() {
			return
		}
		iface, ok := signature.Params().At(i).Type().Underlying().(*types.Interface)
		if !ok {
			continue
		}
		typ := v.info.Types[arg].Type
		if p, ok := typ.(*types.Pointer); ok {
			typ = p.Elem()
		}
		named, ok := typ.(*types.Named)
		if !ok || types.IsInterface(named) || named.Obj().Pkg() == nil || v.graph.packages[named.Obj().Pkg().Path()] == nil {
			continue
		}
		for m := range iface.Methods() {
			v.addMethod(named, m, int(n.Rparen))
		}
	}
}

// functionName is how the documents call f.
func functionName(f *types.Func) string {
	name := f.Name()
	if recv := f.Signature().Recv(); recv != nil {
		typ := recv.Type()
		if p, ok := typ.(*types.Pointer); ok {
			typ = p.Elem()
		}
		if named, ok := typ.(*types.Named); ok {
			name = named.Obj().Name() + "." + name
		}
	}
	if f.Pkg() == nil {
		return name
	}
	return strings.TrimPrefix(f.Pkg().Path(), module) + "." + name
}

// path returns the shortest way from a function to another one, both included, over at most hops
// calls, and where in the body of the first it begins; nil if there is none.
func (g *callGraph) path(from, to string, hops int) (way []string, at int) {
	type step struct {
		function string
		before   *step
		first    int // where the way leaves from
		length   int
	}
	seen := map[string]bool{from: true}
	for queue := []*step{{function: from}}; len(queue) > 0; queue = queue[1:] {
		s := queue[0]
		if s.length == hops {
			continue
		}
		for _, c := range g.calls[s.function] {
			next := &step{c.function, s, s.first, s.length + 1}
			if s.before == nil {
				next.first = c.at
			}
			if c.function == to {
				for ; next != nil; next = next.before {
					way, at = append(way, next.function), max(at, next.first)
				}
				slices.Reverse(way)
				return way, at
			}
			if !seen[c.function] {
				seen[c.function] = true
				queue = append(queue, next)
			}
		}
	}
	return nil, 0
}
