package layout

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"strings"
	"testing"
)

const (
	maxLines    = 400  // of a file
	maxFunction = 80   // lines
	maxMain     = 2000 // lines of a package main
	maxMethods  = 40
	maxFields   = 25
)

// sources are the Go files of the repository besides tests, by path: those of every system, of
// every build tag and of every module.
func sources(t *testing.T) map[string][]byte {
	t.Helper()
	all := goFiles(t)
	for name := range all {
		if strings.HasSuffix(name, "_test.go") {
			delete(all, name)
		}
	}
	return all
}

// TestFiles: a file is one thing, named by it, of functions that fit on a screen.
func TestFiles(t *testing.T) {
	for name, source := range sources(t) {
		if n := bytes.Count(source, []byte("\n")); n > maxLines {
			t.Errorf("%s has %d lines, more than %d: is it one thing?", name, n, maxLines)
		}
		switch path.Base(name) {
		case "utils.go", "util.go", "helpers.go", "types.go", "common.go", "misc.go":
			t.Errorf("%s is named by layer: name a file by the thing in it", name)
		}
		files := token.NewFileSet()
		ast.Inspect(parsed(t, files, name, source), func(n ast.Node) bool {
			switch n.(type) {
			case *ast.FuncDecl, *ast.FuncLit: // a literal can be the value of a package variable
				if lines := files.Position(n.End()).Line - files.Position(n.Pos()).Line; lines > maxFunction {
					t.Errorf("%s: a function of %d lines, more than %d", files.Position(n.Pos()), lines, maxFunction)
				}
			}
			return true
		})
	}
}

// TestTestFiles: a test file is one thing too, and so are the files of test/.
func TestTestFiles(t *testing.T) {
	for name, source := range goFiles(t) {
		if n := bytes.Count(source, []byte("\n")); n > maxLines {
			t.Errorf("%s has %d lines, more than %d: is it one thing?", name, n, maxLines)
		}
	}
}

// TestSizes: no program of one big package, no type that does everything.
func TestSizes(t *testing.T) {
	programs, methods := map[string]int{}, map[string]int{}
	for name, source := range sources(t) {
		files := token.NewFileSet()
		tree := parsed(t, files, name, source)
		if tree.Name.Name == "main" {
			programs[path.Dir(name)] += bytes.Count(source, []byte("\n"))
		}
		for _, typ := range receivers(tree) {
			methods[path.Dir(name)+"."+typ]++
		}
		for _, typ := range structs(tree) {
			if n := fields(typ); n > maxFields {
				t.Errorf("%s: a struct of %d fields, more than %d: group them by theme", files.Position(typ.Pos()), n, maxFields)
			}
		}
	}
	for name, lines := range programs {
		if lines > maxMain {
			t.Errorf("%s has %d lines, more than %d: which package is waiting to leave it?", name, lines, maxMain)
		}
	}
	for typ, n := range methods {
		if n > maxMethods {
			t.Errorf("%s has %d methods, more than %d: split it by what it does", typ, n, maxMethods)
		}
	}
	if len(programs) < 3 || len(methods) < 300 {
		t.Fatalf("found %d programs and %d types with methods: something is wrong with this test", len(programs), len(methods))
	}
}

func parsed(t *testing.T, files *token.FileSet, name string, source []byte) *ast.File {
	t.Helper()
	tree, err := parser.ParseFile(files, name, source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// receivers are the types of the methods that a file declares, each as often as it has methods.
func receivers(tree *ast.File) (names []string) {
	for _, decl := range tree.Decls {
		method, ok := decl.(*ast.FuncDecl)
		if !ok || method.Recv == nil {
			continue
		}
		declared := len(names)
		ast.Inspect(method.Recv.List[0].Type, func(n ast.Node) bool { // T, *T, *T[K, V]: the first identifier
			name, ok := n.(*ast.Ident)
			if ok && len(names) == declared {
				names = append(names, name.Name)
			}
			return len(names) == declared
		})
	}
	return names
}

// structs are all struct types of a file: declared ones, those within functions, those without a
// name.
func structs(tree *ast.File) (all []*ast.StructType) {
	ast.Inspect(tree, func(n ast.Node) bool {
		if typ, ok := n.(*ast.StructType); ok {
			all = append(all, typ)
		}
		return true
	})
	return all
}

// fields counts the fields of a struct. An embedded type is one of them: its own fields count where
// it is declared. The type of a field that is a struct without a name is declared nowhere else, so
// that its fields count here.
func fields(typ *ast.StructType) (n int) {
	for _, f := range typ.Fields.List {
		within := 0
		ast.Inspect(f.Type, func(n ast.Node) bool {
			inner, ok := n.(*ast.StructType)
			if ok {
				within += fields(inner)
			}
			return !ok
		})
		n += max(1, len(f.Names)) * max(1, within)
	}
	return n
}

// TestCounting: what counts towards the limits.
func TestCounting(t *testing.T) {
	for _, row := range []struct {
		source string
		want   string // the fields of each struct
	}{
		{"type T struct { a, b int; c string }", "[3]"},
		{"type T struct { a int; U; *V; w.X; Y[int] }; type U struct { b, c int }", "[5 2]"},
		{"type T struct { a int; s struct { b, c, d int } }", "[4 3]"},
		{"type T struct { s, r []map[string]*struct { b, c int } }", "[4 2]"},
		{"type T struct { s struct { r struct { b, c, d int } } }", "[3 3 3]"},
		{"type T struct { call func(struct { a, b int }) }", "[2 2]"},
		{"type T = struct { a, b int }", "[2]"},
		{"type T []struct { a, b int }", "[2]"},
		{"type T[K comparable] struct { a, b K }", "[2]"},
		{"var v struct { a, b int }", "[2]"},
		{"func f() { type T struct { a, b int }; for range []struct { c int }{} {} }", "[2 1]"},
	} {
		var got []int
		for _, typ := range structs(parsed(t, token.NewFileSet(), "x.go", []byte("package x\n"+row.source))) {
			got = append(got, fields(typ))
		}
		if fmt.Sprint(got) != row.want {
			t.Errorf("%s has the fields %v, want %s", row.source, got, row.want)
		}
	}
	const methods = "package x\nfunc (t T) a() {}\nfunc (*T) b() {}\nfunc (l *L[K]) c() {}\nfunc (m M[K, V]) d() {}\nfunc e() {}"
	if got := fmt.Sprint(receivers(parsed(t, token.NewFileSet(), "x.go", []byte(methods)))); got != "[T T L M]" {
		t.Errorf("the receivers are %s, want [T T L M]", got)
	}
}
