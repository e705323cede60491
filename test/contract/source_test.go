package contract

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/constant"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// source is one package of the product, parsed and with its types.
type source struct {
	path  string
	files []*ast.File
	info  *types.Info
}

var product = sync.OnceValues(load)

// sources are the packages of the program, without the simulator.
func sources(t *testing.T) []source {
	t.Helper()
	all, err := product()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func load() (all []source, err error) {
	list := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles", "../../cmd/dinggate")
	list.Stderr = os.Stderr
	out, err := list.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := list.Start(); err != nil {
		return nil, err
	}
	type listed struct {
		ImportPath, Dir, Export string
		GoFiles                 []string
	}
	exports := map[string]string{}
	var ours []listed
	for dec := json.NewDecoder(out); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		exports[p.ImportPath] = p.Export
		if strings.HasPrefix(p.ImportPath, "dinggate/") && !strings.HasSuffix(p.ImportPath, "/simulator") {
			ours = append(ours, p)
		}
	}
	if err := list.Wait(); err != nil {
		return nil, err
	}
	fset := token.NewFileSet()
	imports := importer.ForCompiler(fset,
		"gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	for _, p := range ours {
		s := source{path: p.ImportPath, info: &types.Info{
			Types: map[ast.Expr]types.TypeAndValue{},
			Uses:  map[*ast.Ident]types.Object{},
			Defs:  map[*ast.Ident]types.Object{},
		}}
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				return nil, err
			}
			s.files = append(s.files, file)
		}
		if _, err := (&types.Config{Importer: imports}).Check(p.ImportPath, fset, s.files, s.info); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// walk calls visit for every node of every package.
func walk(all []source, visit func(s source, n ast.Node)) {
	for _, s := range all {
		for _, file := range s.files {
			ast.Inspect(file, func(n ast.Node) bool {
				if n != nil {
					visit(s, n)
				}
				return true
			})
		}
	}
}

// text is the value of a constant string.
func (s source) text(e ast.Expr) (string, bool) {
	v := s.info.Types[e].Value
	if v == nil || v.Kind() != constant.String {
		return "", false
	}
	return constant.StringVal(v), true
}

// value is a constant as text, "?" for what is known at run time only.
func (s source) value(e ast.Expr) string {
	if e == nil {
		return "-"
	}
	v := s.info.Types[e].Value
	switch {
	case v == nil:
		return "?"
	case v.Kind() == constant.String:
		return constant.StringVal(v)
	}
	return v.ExactString()
}

// fields are the values of a struct literal by the names of its fields; nil for
// any other literal.
func (s source) fields(lit *ast.CompositeLit) map[string]ast.Expr {
	typ := s.info.Types[lit].Type
	if typ == nil {
		return nil
	}
	if p, ok := typ.Underlying().(*types.Pointer); ok {
		typ = p.Elem()
	}
	body, ok := typ.Underlying().(*types.Struct)
	if !ok {
		return nil
	}
	all := map[string]ast.Expr{}
	for i, e := range lit.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			all[kv.Key.(*ast.Ident).Name] = kv.Value
		} else {
			all[body.Field(i).Name()] = e
		}
	}
	return all
}

// has reports whether the literal's type has these fields.
func (s source) has(lit *ast.CompositeLit, names ...string) bool {
	typ := s.info.Types[lit].Type
	if typ == nil {
		return false
	}
	if p, ok := typ.Underlying().(*types.Pointer); ok {
		typ = p.Elem()
	}
	body, ok := typ.Underlying().(*types.Struct)
	if !ok {
		return false
	}
	found := 0
	for f := range body.Fields() {
		for _, name := range names {
			if f.Name() == name {
				found++
			}
		}
	}
	return found == len(names)
}

// callee is the signature of the function that a call calls.
func (s source) callee(call *ast.CallExpr) *types.Signature {
	sig, _ := s.info.Types[call.Fun].Type.(*types.Signature)
	return sig
}
